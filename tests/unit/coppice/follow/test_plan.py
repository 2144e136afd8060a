"""What the follower decides."""

from __future__ import annotations

import pytest

from coppice import records
from coppice.eventlog import envelope
from coppice.follow import plan
from tests.support import events

TOPIC = "coppice.command.v1"


def letter(
    event: records.Event, offset: int = 0, *, partition: int = 0, topic: str = TOPIC
) -> envelope.Letter:
    return envelope.Letter(
        topic, partition, offset, 0, envelope.key(event), event.data, envelope.headers(event)
    )


class TestSort:
    def test_events_come_out_in_their_order(self) -> None:
        first, second = events.command(), events.prediction()

        assert plan.sort([letter(first), letter(second)]).events == [first, second]

    def test_the_offset_behind_the_last_record_of_each_partition_is_told(self) -> None:
        letters = [
            letter(events.command(), 4),
            letter(events.command(), 5),
            letter(events.command(), 0, partition=1),
            letter(events.command(), 9, topic="other"),
        ]

        assert plan.sort(letters).consumed == {(TOPIC, 0): 6, (TOPIC, 1): 1, ("other", 0): 10}

    def test_what_is_no_event_is_told_apart_with_the_reason_and_passed(self) -> None:
        junk = letter(events.command(), 3)._replace(headers=[])

        found = plan.sort([junk])

        assert found.events == []
        assert found.dead == [plan.Dead(junk, "the header ce_id is missing")]
        assert found.consumed == {(TOPIC, 0): 4}

    def test_a_payload_that_is_not_what_its_type_promises_is_dead(self) -> None:
        (dead,) = plan.sort([letter(events.padded(events.command(), 3))]).dead

        assert "does not decode" in dead.reason

    def test_an_event_of_a_newer_version_is_kept(self) -> None:
        newer = records.Event("id-1", "coppice.future.v9", "tests", 0.0, "s", "m", b"\xff")

        assert plan.sort([letter(newer)]) == plan.Sorted([newer], [], {(TOPIC, 0): 1})


class TestLags:
    def test_a_topic_counts_all_its_partitions(self) -> None:
        ends = {("a", 0): 10, ("a", 1): 5, ("b", 0): 7}

        # 10 - 4 and 5 - 5; nothing of b was read.
        assert plan.lags({("a", 0): 4, ("a", 1): 5}, ends) == {"a": 6, "b": 7}

    def test_a_cluster_that_was_made_anew_is_not_lagged_behind(self) -> None:
        assert plan.lags({("a", 0): 100}, {("a", 0): 3}) == {"a": 0}


class TestStuck:
    @pytest.mark.parametrize("now", [10.0, 20.0, 30.0])
    def test_up_to_the_deadline_nothing_is_said(self, now: float) -> None:
        assert plan.stuck(plan.Progress(heard=10.0, moved=10.0), now, 20.0) == ""

    def test_brokers_that_do_not_answer_are_told(self) -> None:
        assert "none has answered for 21 s" in plan.stuck(plan.Progress(10.0, 31.0), 31.0, 20.0)

    def test_records_that_do_not_come_are_told(self) -> None:
        assert "none has come for 21 s" in plan.stuck(plan.Progress(31.0, 10.0), 31.0, 20.0)
