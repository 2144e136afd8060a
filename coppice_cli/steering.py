"""Steer a rollout by commands: wait for the controller to answer one, and tell what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coppice import clock, errors, records

if TYPE_CHECKING:
    from coppice.eventlog.base import IndexedLog

POLL_SECONDS = 0.1


def history(log: IndexedLog, model: str) -> list[tuple[float, records.Rollout]]:
    """Return every step of every rollout with its time, oldest first."""
    unsealed = ((event.time, records.unseal(event)) for event in log.find(model, records.Rollout))
    return [(time, record) for time, record in unsealed if isinstance(record, records.Rollout)]


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
