from __future__ import annotations

import pytest

from coppice import errors, records
from coppice.eventlog import joined, memory
from tests.support import events


@pytest.fixture
def outbox() -> memory.MemoryLog:
    return memory.MemoryLog()


@pytest.fixture
def replica() -> memory.MemoryLog:
    return memory.MemoryLog()


def test_an_event_that_came_back_from_kafka_is_found_once(
    outbox: memory.MemoryLog, replica: memory.MemoryLog
) -> None:
    event = events.prediction("a")
    outbox.append([event])
    replica.append([event])
    assert joined.JoinedIndex(outbox, replica).find("a", records.Prediction) == [event]


def test_events_of_other_machines_are_found_in_the_order_of_their_times(
    outbox: memory.MemoryLog, replica: memory.MemoryLog
) -> None:
    label = records.Feedback(request_id="a", model="digits", labels=(1,), labelled_at=0.0)
    ours = records.seal(label, source="tests", now=20.0)
    theirs = records.seal(label, source="elsewhere", now=10.0)
    outbox.append([ours])
    replica.append([theirs])
    assert joined.JoinedIndex(outbox, replica).find("a", records.Feedback) == [theirs, ours]


def test_without_a_replica_the_outbox_alone_is_asked(outbox: memory.MemoryLog) -> None:
    event = events.prediction("a")
    outbox.append([event, events.prediction("b")])
    assert joined.JoinedIndex(outbox).find("a", records.Prediction) == [event]


def test_the_replica_is_closed_and_the_outbox_is_left_to_its_owner(
    outbox: memory.MemoryLog, replica: memory.MemoryLog
) -> None:
    joined.JoinedIndex(outbox, replica).close()
    outbox.append([events.prediction()])
    with pytest.raises(errors.EventLogError):
        replica.append([events.prediction()])
