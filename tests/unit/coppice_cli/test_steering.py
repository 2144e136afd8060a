from __future__ import annotations

import msgspec
import pytest

from coppice import errors, records
from coppice.testing import ManualClock, MemoryLog
from coppice_cli import steering

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


def test_there_is_no_state_before_the_first_rollout() -> None:
    assert steering.state_of(MemoryLog(), "tiny") is None


def test_the_newest_rollout_event_is_the_state() -> None:
    later = msgspec.structs.replace(STATE, stage="canary")
    assert steering.state_of(_log(STATE, later), "tiny") == later


def test_history_is_oldest_first_with_times() -> None:
    later = msgspec.structs.replace(STATE, stage="canary")
    assert steering.history(_log(STATE, PAUSE, later), "tiny") == [(1.0, STATE), (1.0, later)]


def test_a_command_is_appended_with_who_and_why(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = steering.order(log, PAUSE, clock)
    event = log.latest("tiny", records.Command)
    assert event is not None
    assert (event.id, event.time, event.source) == (identity, 100.0, "coppice.cli")
    assert records.unseal(event) == PAUSE


def test_a_command_that_does_not_fit_is_not_appended(clock: ManualClock) -> None:
    log = _log(msgspec.structs.replace(STATE, stage="idle", candidate=None))
    with pytest.raises(errors.RolloutError, match="no rollout is running"):
        steering.order(log, PAUSE, clock)
    assert log.latest("tiny", records.Command) is None


def test_the_controllers_answer_is_the_outcome(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = steering.order(log, PAUSE, clock)
    _answer(log, identity, outcome="paused", paused=True)
    after = steering.outcome(log, "tiny", identity, clock=clock, patience=5.0)
    assert after.paused


def test_steps_that_answer_something_else_are_passed_over(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = steering.order(log, PAUSE, clock)
    _answer(log, "another", outcome="advanced")
    with pytest.raises(errors.EnvironmentProblem):
        steering.outcome(log, "tiny", identity, clock=clock, patience=1.0)


def test_a_refusal_of_the_controller_is_an_error(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = steering.order(log, PAUSE, clock)
    _answer(log, identity, outcome="refused", reason="pause refused: no rollout is running")
    with pytest.raises(errors.RolloutError, match="pause refused"):
        steering.outcome(log, "tiny", identity, clock=clock, patience=1.0)


def test_without_a_controller_one_is_told_so_after_the_patience(clock: ManualClock) -> None:
    log = _log(STATE)
    identity = steering.order(log, PAUSE, clock)
    with pytest.raises(errors.EnvironmentProblem, match="no controller answered within 3 s"):
        steering.outcome(log, "tiny", identity, clock=clock, patience=3.0)
    # 100 s at the start, and 3 s of patience.
    assert clock.now() == pytest.approx(103.0, abs=steering.POLL_SECONDS)
    assert log.latest("tiny", records.Command) is not None
