"""What is asked of the controller lies in the log, and only where the state allows it."""

from __future__ import annotations

import pytest

from coppice import errors, records
from coppice.testing import ManualClock, MemoryLog
from deploy import orders
from tests.support import rollouts
from tests.support.rollouts import MODEL

PAUSE = rollouts.command("pause")


def log_of(*found: records.Record) -> MemoryLog:
    log = MemoryLog()
    log.append([rollouts.event(record) for record in found])
    return log


def test_there_is_no_state_before_the_first_rollout() -> None:
    assert orders.state_of(MemoryLog(), MODEL) is None


def test_the_newest_rollout_event_is_the_state() -> None:
    log = log_of(rollouts.shadow(), rollouts.canary())
    assert orders.state_of(log, MODEL) == rollouts.canary()


def test_a_command_is_appended_with_who_and_why() -> None:
    log = log_of(rollouts.shadow())
    identity = orders.give(log, PAUSE, source="door", clock=ManualClock(now=100.0))
    event = log.latest(MODEL, records.Command)
    assert event is not None
    assert (event.id, event.time, event.source) == (identity, 100.0, "door")
    assert records.unseal(event) == PAUSE


def test_a_command_that_does_not_fit_is_not_appended() -> None:
    log = log_of(rollouts.state())
    with pytest.raises(errors.RolloutError, match="no rollout is running"):
        orders.give(log, PAUSE, source="door", clock=ManualClock())
    assert log.latest(MODEL, records.Command) is None
