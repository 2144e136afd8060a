"""What the learning plane knows from the log: a pure fold of events into one frozen state.

Everything that decides about a retraining is in the log, so a restarted process folds the log again
and stands where the old one stood.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from coppice import records

_KEPT_STARTS = 1000
"""Starts remembered; far more than any daily budget."""


class Pending(NamedTuple):
    """A verdict of decay that no retraining has answered, and the id of its event."""

    event_id: str
    verdict: records.Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """Where the learning plane stands.

    Attributes
    ----------
    champion
        Version that serves, by the latest rollout event.
    rolling_out
        Candidate that is being rolled out, or that was accepted and waits for it.
    pending
        Verdict still to be answered.
    answering
        Verdict of a retraining that was started and has not ended.
    started
        The retraining that was started and has not ended.
    starts
        Times at which retrainings began, oldest first.
    attempts
        Retrainings begun because of this champion's pruning.
    """

    champion: str | None = None
    rolling_out: str | None = None
    pending: Pending | None = None
    answering: Pending | None = None
    started: records.Retraining | None = None
    starts: tuple[float, ...] = ()
    attempts: int = 0


def fold(state: State, event: records.Event, record: records.Record) -> State:
    """Return the state after one event of this model; other kinds leave it as it is."""
    match record:
        case records.Verdict(scope="champion"):
            return _after_verdict(state, Pending(event.id, record))
        case records.Retraining():
            return _after_retraining(state, record, event.time)
        case records.Candidate(status="accepted" | "forced"):
            return dataclasses.replace(state, rolling_out=record.version)
        case records.Rollout():
            return _after_rollout(state, record)
        case _:
            return state


def _after_verdict(state: State, found: Pending) -> State:
    if found.verdict.kind == "decay":
        return dataclasses.replace(state, pending=found)
    pending = state.pending
    if found.verdict.kind == "healthy" and pending is not None:
        if found.verdict.version != pending.verdict.version:
            return state
        # The decay is over, and with it the reason to retrain.
        return dataclasses.replace(state, pending=None)
    return state


def _after_retraining(state: State, record: records.Retraining, time: float) -> State:
    if record.cause == "manual":
        return state
    if record.status == "started":
        answered = state.pending if _asked(state.pending, record) else None
        return dataclasses.replace(
            state,
            pending=None if answered else state.pending,
            answering=answered,
            started=record,
            starts=(*state.starts, time)[-_KEPT_STARTS:],
            attempts=state.attempts + (record.cause == "pruning"),
        )
    if state.started is None:
        return state
    # Held after it was started means that the process was asked to stop: the verdict still stands.
    # What failed or finished waits for a new verdict.
    again = state.answering if record.status == "held" else None
    return dataclasses.replace(state, started=None, answering=None, pending=state.pending or again)


def _asked(pending: Pending | None, record: records.Retraining) -> bool:
    return pending is not None and pending.event_id == record.trigger


def _after_rollout(state: State, record: records.Rollout) -> State:
    moving = record.stage in {"shadow", "canary"}
    return dataclasses.replace(
        state,
        champion=record.champion,
        rolling_out=record.candidate if moving else None,
        attempts=state.attempts if record.champion == state.champion else 0,
    )
