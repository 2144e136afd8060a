"""Steer a rollout by commands: append one to the log, and wait for the controller to answer it.

The controller alone moves a rollout. It answers each command with a rollout event whose `trigger`
is the command's id, also where it refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coppice import clock, errors, records
from deploy import plan

if TYPE_CHECKING:
    from coppice.eventlog.base import IndexedLog

POLL_SECONDS = 0.1


def state_of(log: IndexedLog, model: str) -> records.Rollout | None:
    """Return the newest rollout event, which is the whole state; `None` before the first."""
    event = log.latest(model, records.Rollout)
    if event is None:
        return None
    record = records.unseal(event)
    return record if isinstance(record, records.Rollout) else None


def history(log: IndexedLog, model: str) -> list[tuple[float, records.Rollout]]:
    """Return every step of every rollout with its time, oldest first."""
    unsealed = ((event.time, records.unseal(event)) for event in log.find(model, records.Rollout))
    return [(time, record) for time, record in unsealed if isinstance(record, records.Rollout)]


def order(log: IndexedLog, command: records.Command, clock: clock.Clock) -> str:
    """Append a command that the state allows, and return its event's id.

    Raises
    ------
    RolloutError
        The state does not allow it; nothing was appended.
    """
    plan.check(state_of(log, command.model), command.action)
    event = records.seal(command, source="coppice.cli", now=clock.now())
    log.append([event])
    return event.id


def outcome(
    log: IndexedLog, model: str, command_id: str, *, clock: clock.Clock, patience: float
) -> records.Rollout:
    """Wait for the rollout event that answers a command.

    Parameters
    ----------
    patience
        Seconds to wait.

    Raises
    ------
    RolloutError
        The controller refused: by then the state had changed.
    EnvironmentProblem
        No controller answered in time; the command stays in the log and will be obeyed.
    """
    deadline = clock.monotonic() + patience
    while True:
        answers = [state for _, state in history(log, model) if state.trigger == command_id]
        if answers and answers[0].outcome == "refused":
            raise errors.RolloutError(answers[0].reason)
        if answers:
            return answers[0]
        if clock.monotonic() >= deadline:
            message = (
                f"the command is kept, but no controller answered within {patience:g} s; "
                "it is obeyed as soon as `coppice up` or `coppice rollout run` runs"
            )
            raise errors.EnvironmentProblem(message)
        clock.sleep(POLL_SECONDS)
