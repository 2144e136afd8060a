"""Where a decay sits: the one slice that explains it, with what each version lost there (pure).

A slice *explains* a decay when at most half of it would be left without the slice's rows, and the
slice scores lower than the other rows beyond chance. Losses are against the mean score that was
accepted, for every version alike, so that they can be compared. This is for the reader of a
diagnosis; it decides nothing, so it is not corrected for the number of slices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from coppice import records
from monitoring import bets, diagnosis

FEWEST_ROWS = 10
"""Rows that a slice and the rest must have, to be compared with each other."""

DEVIATIONS = 3.0
"""So many standard errors must lie between the slice and the rest: one slice in 700 by chance."""


@dataclass(frozen=True, slots=True)
class SliceLoss:
    """What versions lost on one slice, in mean score."""

    name: str
    share: float
    """Of the rows."""
    champion: float
    others: dict[records.Cause, float] = field(default_factory=dict)
    """The dense parent's and the previous champion's loss, by the cause that they stand for."""

    def words(self) -> str:
        """Say it in one sentence.

        >>> print(SliceLoss("low-light", 0.2, 0.241, {"pruning": 0.003}).words())
        It sits in slice low-light (20% of the rows): there the champion lost 24.1 points, \
its dense parent lost 0.3.
        """
        others = [f"{diagnosis.NAMES[cause]} {_lost(loss)}" for cause, loss in self.others.items()]
        told = ", ".join([f"the champion lost {100.0 * self.champion:.1f} points", *others])
        return f"It sits in slice {self.name} ({self.share:.0%} of the rows): there {told}."


def worst(
    champion: bets.Floats,
    others: Mapping[records.Cause, bets.Floats],
    slices: Sequence[tuple[str, ...]],
    *,
    accepted: float,
) -> SliceLoss | None:
    """Find the slice that explains a decay.

    Parameters
    ----------
    champion
        Score of the champion on each row [rows], in [0, 1].
    others
        The same rows answered by the dense parent (`pruning`) and the previous champion
        (`release`); an empty array for one that could not be replayed.
    slices
        Slices of each row.
    accepted
        Mean score that the champion was accepted with.

    Returns
    -------
    SliceLoss or None
        Of several slices that explain it, each of which accounts for half of it or more, the one
        that lost most, which is the narrowest; `None` where there is no decay, or no slice
        explains it.

    Examples
    --------
    >>> champion = np.array([1.0] * 90 + [0.0] * 30)
    >>> parent = np.array([1.0] * 119 + [0.0])
    >>> slices = [("day",)] * 80 + [("night",)] * 40
    >>> found = worst(champion, {"pruning": parent}, slices, accepted=0.99)
    >>> found.name, round(found.champion, 3), round(found.others["pruning"], 3)
    ('night', 0.74, 0.015)
    """
    rows = len(champion)
    if not rows or champion.mean() >= accepted:
        return None
    lost: dict[str, float] = {}
    members = _members(slices)
    for name, places in members.items():
        inside = np.zeros(rows, dtype=bool)
        inside[places] = True
        if _explains(champion[inside], champion[~inside], accepted):
            lost[name] = accepted - float(champion[inside].mean())
    if not lost:
        return None
    name = max(lost, key=lambda each: lost[each])
    places = members[name]
    return SliceLoss(
        name=name,
        share=len(places) / rows,
        champion=lost[name],
        others={
            cause: accepted - float(scores[places].mean())
            for cause, scores in others.items()
            if len(scores) == rows
        },
    )


def _members(slices: Sequence[tuple[str, ...]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, names in enumerate(slices):
        for name in names:
            found.setdefault(name, []).append(place)
    return found


def _explains(inside: bets.Floats, outside: bets.Floats, accepted: float) -> bool:
    if min(len(inside), len(outside)) < FEWEST_ROWS:
        return False
    rows = len(inside) + len(outside)
    decay = accepted - float(inside.sum() + outside.sum()) / rows
    left = accepted - float(outside.mean())
    error = math.sqrt(inside.var() / len(inside) + outside.var() / len(outside))
    distance = float(outside.mean() - inside.mean())
    return left <= diagnosis.SHARE * decay and distance > DEVIATIONS * error


def _lost(loss: float) -> str:
    return f"lost {100.0 * loss:.1f}" if loss > 0.0 else "lost nothing"
