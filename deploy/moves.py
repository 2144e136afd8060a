"""The moves of a rollout: what each makes of the state, whoever decided on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from coppice import records
from deploy import facts as observed
from deploy import policy as policies


class Why(NamedTuple):
    """Why a step is made, for whoever reads the log."""

    reason: str
    trigger: str | None = None
    actor: str = "coppice"


class Moment(NamedTuple):
    """All that a rule may look at, once there is a champion."""

    state: records.Rollout
    facts: observed.Facts
    policy: policies.Policy
    now: float

    @property
    def age(self) -> float:
        """Seconds since the stage, or its step, began."""
        return self.now - self.state.since

    @property
    def under_trial(self) -> bool:
        """Whether a candidate is being rolled out."""
        return self.state.stage in {"shadow", "canary"} and self.state.candidate is not None

    def move(self, why: Why, **changes: object) -> records.Rollout:
        """Return the state after a move that begins a stage or a step."""
        return change(self.state, why, since=self.now, **changes)


Rule: TypeAlias = Callable[[Moment], records.Rollout | None]

NO_CANDIDATE = {"candidate": None, "weight": 0.0, "step": 0, "paused": False}
"""What a state says once nothing is on trial."""


def back_to_previous(moment: Moment, why: Why) -> records.Rollout:
    """Let the previous champion return; a candidate on trial goes too."""
    dropped = moment.state.candidate
    if dropped is not None:
        also = f"; {dropped} goes too, because it was compared with the version that leaves"
        why = why._replace(reason=why.reason + also)
    return moment.move(
        why,
        outcome="rolled-back",
        stage="idle",
        champion=moment.state.previous,
        previous=None,
        **NO_CANDIDATE,
    )


def drop_candidate(moment: Moment, why: Why) -> records.Rollout:
    """Leave the champion alone with the traffic."""
    return moment.move(why, outcome="rolled-back", stage="idle", **NO_CANDIDATE)


def promote(moment: Moment, why: Why) -> records.Rollout:
    """Make the candidate champion, and watch it."""
    return moment.move(
        why,
        outcome="promoted",
        stage="watch",
        champion=moment.state.candidate,
        previous=moment.state.champion,
        **NO_CANDIDATE,
    )


def change(state: records.Rollout, why: Why, **changes: object) -> records.Rollout:
    """Return the state after a change that begins no stage and no step."""
    return msgspec.structs.replace(
        state, reason=why.reason, trigger=why.trigger, actor=why.actor, **changes
    )
