"""Ask the controller for something: a command in the log, refused where the state does not fit.

The controller alone moves a rollout. It answers each command with a rollout event whose `trigger`
is the command's id, also where it refuses; so the log is the audit of who asked for what.
"""

from __future__ import annotations

from coppice import clock as clocks
from coppice import records
from coppice.eventlog import base
from deploy import plan


def state_of(log: base.IndexedLog, model: str) -> records.Rollout | None:
    """Return the newest rollout event, which is the whole state; `None` before the first."""
    event = log.latest(model, records.Rollout)
    if event is None:
        return None
    record = records.unseal(event)
    return record if isinstance(record, records.Rollout) else None


def give(
    log: base.IndexedLog, command: records.Command, *, source: str, clock: clocks.Clock
) -> str:
    """Append a command that the state allows, and return its event's id.

    Raises
    ------
    RolloutError
        The state does not allow it; nothing was appended.
    """
    plan.check(state_of(log, command.model), command.action)
    event = records.seal(command, source=source, now=clock.now())
    log.append([event])
    return event.id
