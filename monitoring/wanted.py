"""The label queue: which requests should get a label, the most decisive first (pure).

Two kinds are asked for. A *disagreement* of the audit sample decides about the candidate. A small
sample drawn whatever the answers keeps *live accuracy* known; it gets a fixed share of the places,
so that a long queue of disagreements cannot crowd it out. Each request carries the probability with
which it came to be asked for, so that whoever estimates from the labels can weigh them right.
"""

from __future__ import annotations

import heapq
from typing import Literal, TypeAlias

import msgspec

from coppice import settings
from monitoring import state as states
from monitoring import trials

Reason: TypeAlias = Literal["disagreement", "live-accuracy"]

LIVE_PLACES = 4
"""One in so many places is kept for live accuracy, while there are requests to fill it."""


class WantedLabel(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose label is asked for."""

    request_id: str
    reason: Reason
    version: str
    """The version on trial, or for live accuracy the version that answered."""
    rows: tuple[int, ...] | None
    """Rows on which the versions differ; for live accuracy `None`, which means all."""
    divergence: float
    """Largest possible difference of the two versions' scores; 0 for live accuracy."""
    inclusion_probability: float
    seen_at: float
    """Time of the request, seconds since 1970 UTC."""


def is_doubtful(state: states.State, tolerance: float) -> bool:
    """Say whether the champion may do worse than its labels tell yet, so that more are asked for.

    That is where the label-free estimate lies further below what is expected than is tolerated,
    trusted or not, or where the dense parent agrees with it less than it did at first. Neither
    decides anything: only labels do.
    """
    reign = state.reign
    if reign is None:
        return False
    guess = reign.beside.estimate if reign.beside is not None else None
    agreement = state.agreement.get(reign.version)
    return (guess is not None and guess.fell(tolerance)) or (
        agreement is not None and agreement.fell()
    )


def queue(
    state: states.State, tree: settings.Settings, limit: int, *, eager: bool
) -> list[WantedLabel]:
    """Return at most `limit` requests that should be labelled, the most decisive first.

    Parameters
    ----------
    state
        What the monitor knows.
    tree
        The project's settings.
    limit
        Most requests to return.
    eager
        Whether more labels for live accuracy are asked for: the cause of a decay is open, or
        `is_doubtful` says so.
    """
    trial = state.current_trial()
    decisive = _disagreements(trial, tree, limit) if trial is not None else []
    asked = {label.request_id for label in decisive}
    live = [label for label in _live(state, tree, eager=eager) if label.request_id not in asked]
    if eager:
        return [*live, *decisive][:limit]
    places = min(len(live), max(limit // LIVE_PLACES, limit - len(decisive)))
    return [*decisive[: limit - places], *live[:places]]


def _disagreements(trial: trials.Trial, tree: settings.Settings, limit: int) -> list[WantedLabel]:
    if tree.evidence.mode != "asked":
        return []
    # Oldest first among equals: the dictionary keeps the order in which they came.
    chosen = heapq.nsmallest(
        limit, trial.pending.items(), key=lambda item: -max(item[1].divergences)
    )
    probability = tree.evidence.audit_rate * tree.rollout.mirror
    return [
        WantedLabel(
            request_id=request_id,
            reason="disagreement",
            version=trial.pair.candidate,
            rows=tuple(row for row, by in enumerate(request.divergences) if by > 0.0),
            divergence=max(request.divergences),
            inclusion_probability=probability,
            seen_at=request.seen_at,
        )
        for request_id, request in chosen
    ]


def _live(state: states.State, tree: settings.Settings, *, eager: bool) -> list[WantedLabel]:
    """Return the sample for live accuracy, newest first: it is about now."""
    rate = tree.evidence.live_rate
    if eager:
        rate = min(1.0, states.EAGER * rate)
    return [
        WantedLabel(
            request_id=request_id,
            reason="live-accuracy",
            version=request.version,
            rows=None,
            divergence=0.0,
            inclusion_probability=rate,
            seen_at=request.seen_at,
        )
        for request_id, request in reversed(state.live.items())
        if request.draw < rate
    ]
