from __future__ import annotations

from coppice import records
from coppice.eventlog import envelope
from monitoring import feed


def test_of_one_time_a_rollout_comes_before_answers_and_these_before_their_labels() -> None:
    order = [
        feed.KINDS.index(records.NAMES[kind])
        for kind in (records.Rollout, records.Prediction, records.Shadow, records.Feedback)
    ]
    assert order == sorted(order)


def test_facts_are_written_to_a_topic_that_is_not_read_as_a_record() -> None:
    assert envelope.FACTS not in feed.KINDS


def test_members_read_topics_that_there_are() -> None:
    assert set(feed.KINDS) < set(envelope.topics(""))
