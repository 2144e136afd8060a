from __future__ import annotations

from coppice.eventlog import envelope
from coppice.follow.recorder import Recorder


def value(recorder: Recorder, name: str, **labels: str) -> float | None:
    return recorder.registry.get_sample_value(name, {"model": "digits", **labels})


def test_every_topic_begins_at_nought_so_that_the_first_dead_letter_is_an_increase() -> None:
    recorder = Recorder("digits")

    found = {
        topic: value(recorder, "coppice_follow_dead_letters_total", topic=topic)
        for topic in envelope.topics()
    }

    assert found == dict.fromkeys(envelope.topics(), 0.0)


def test_the_prefix_is_no_part_of_a_topics_label() -> None:
    recorder = Recorder("digits", "eu.")

    recorder.buried("eu.coppice.verdict.v1")
    recorder.heard({"eu.coppice.verdict.v1": 7}, now=100.0)

    topic = "coppice.verdict.v1"
    assert value(recorder, "coppice_follow_dead_letters_total", topic=topic) == 1.0
    assert value(recorder, "coppice_follow_lag", topic=topic) == 7.0
    assert value(recorder, "coppice_follow_heard_timestamp_seconds") == 100.0


def test_a_wait_is_shown_until_it_is_over() -> None:
    recorder = Recorder("digits")
    assert value(recorder, "coppice_follow_waiting") == 0.0

    recorder.waiting(waits=True)
    assert value(recorder, "coppice_follow_waiting") == 1.0

    recorder.waiting(waits=False)
    assert value(recorder, "coppice_follow_waiting") == 0.0


def test_stored_events_add_up() -> None:
    recorder = Recorder("digits")
    recorder.stored(3)
    recorder.stored(4)

    assert value(recorder, "coppice_follow_events_total") == 7.0
