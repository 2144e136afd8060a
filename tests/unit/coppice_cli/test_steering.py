from __future__ import annotations

import msgspec
import pytest

from coppice import errors, records
from coppice.testing import ManualClock, MemoryLog
from coppice_cli import steering
from deploy import orders

STATE = records.Rollout(
    model="tiny",
    stage="shadow",
    champion="tiny:a",
    candidate="tiny:b",
    outcome="started",
    reason="r",
)
PAUSE = records.Command(model="tiny", action="pause", actor="ada", reason="lunch")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now=100.0)


def _log(*found: records.Record) -> MemoryLog:
    log = MemoryLog()
    log.append([records.seal(record, source="test", now=1.0) for record in found])
    return log


def _answer(log: MemoryLog, command_id: str, **changes: object) -> None:
    state = msgspec.structs.replace(STATE, trigger=command_id, **changes)
    log.append([records.seal(state, source="test", now=2.0)])


def test_history_is_oldest_first_with_times() -> None:
    later = msgspec.structs.replace(STATE, stage="canary")
    assert steering.history(_log(STATE, PAUSE, later), "tiny") == [(1.0, STATE), (1.0, later)]


def test_the_controllers_answer_is_the_outcome(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = orders.give(log, PAUSE, source="test", clock=clock)
    _answer(log, identity, outcome="paused", paused=True)
    after = steering.outcome(log, "tiny", identity, clock=clock, patience=5.0)
    assert after.paused


def test_steps_that_answer_something_else_are_passed_over(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = orders.give(log, PAUSE, source="test", clock=clock)
    _answer(log, "another", outcome="advanced")
    with pytest.raises(errors.EnvironmentProblem):
        steering.outcome(log, "tiny", identity, clock=clock, patience=1.0)


def test_a_refusal_of_the_controller_is_an_error(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = orders.give(log, PAUSE, source="test", clock=clock)
    _answer(log, identity, outcome="refused", reason="pause refused: no rollout is running")
    with pytest.raises(errors.RolloutError, match="pause refused"):
        steering.outcome(log, "tiny", identity, clock=clock, patience=1.0)


def test_without_a_controller_one_is_told_so_after_the_patience(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = orders.give(log, PAUSE, source="test", clock=clock)
    with pytest.raises(errors.EnvironmentProblem, match="no controller answered within 3 s"):
        steering.outcome(log, "tiny", identity, clock=clock, patience=3.0)
    # 100 s at the start, and 3 s of patience.
    assert clock.now() == pytest.approx(103.0, abs=steering.POLL_SECONDS)
    assert log.latest("tiny", records.Command) is not None
