"""Whether a slice is shown to be no worse than a margin, shown to be worse, or still open.

Not being shown worse is no proof of being fine: with few rows nothing is ever shown. So two
opposite tests are made at the margin, and a slice that neither decides is called open. Both
families of tests are corrected over the slices by Holm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from coppice.labels import Floats
from retrain.evaluate import multiple, paired

State: TypeAlias = Literal["no worse", "worse", "open", "too few rows"]


_EQUAL = 1e-9
"""Outcomes that spread no more than this are taken as equal."""


class Judgement(NamedTuple):
    """What is shown of one slice; chances are adjusted p-values, `None` where it is not judged."""

    state: State
    no_worse: float | None
    """Of so small a drop if the true one reached the margin."""
    worse: float | None
    """Of so large a drop if the true one did not exceed the margin."""


def judge(
    pairs: paired.Pairs,
    named: Mapping[str, npt.NDArray[np.bool_]],
    *,
    margin: float,
    confidence: float,
    min_rows: int,
) -> dict[str, Judgement]:
    """Judge every slice that has rows; those below `min_rows` are not judged and cost nothing."""
    filled = {name: mask for name, mask in named.items() if mask.any()}
    statistics = {
        name: chances(pairs.outcomes[mask], margin)
        for name, mask in filled.items()
        if int(mask.sum()) >= min_rows
    }
    no_worse = multiple.holm({name: both[0] for name, both in statistics.items()})
    worse = multiple.holm({name: both[1] for name, both in statistics.items()})
    alpha = 1.0 - confidence
    return {
        name: (
            Judgement(_state(no_worse[name], worse[name], alpha), no_worse[name], worse[name])
            if name in statistics
            else Judgement("too few rows", None, None)
        )
        for name in filled
    }


def chances(outcomes: Floats, margin: float) -> tuple[float, float]:
    """Return two one-sided p-values: that the mean is not below the margin, and not above it.

    For classes from Tango's score statistic, for a regression from Student's t. Rows that all lose
    the same are given the standard error of one wholly lost row: they do not tell their own.

    >>> [round(chance, 4) for chance in chances(np.zeros(100), 0.05)]
    [0.0109, 0.9891]
    """
    rows = len(outcomes)
    if np.isin(outcomes, (-1.0, 0.0, 1.0)).all():
        lost, gained = int((outcomes > 0).sum()), int((outcomes < 0).sum())
        found = paired.score_statistic(lost, gained, rows, margin)
        return float(stats.norm.cdf(found)), float(stats.norm.sf(found))
    spread = float(outcomes.std(ddof=1)) if rows > 1 else math.inf
    error = spread / math.sqrt(rows) if spread > _EQUAL else 1.0 / rows
    found = (float(outcomes.mean()) - margin) / error
    freedom = max(rows - 1, 1)
    return float(stats.t.cdf(found, freedom)), float(stats.t.sf(found, freedom))


def rows_needed(margin: float, *, slices: int, confidence: float) -> int:
    """Return the rows at which a slice of classes that loses nothing is shown to be no worse.

    Even if it is the least sure of so many slices. Nothing is shown at a margin of nought.

    >>> rows_needed(0.05, slices=1, confidence=0.95), rows_needed(0.05, slices=10, confidence=0.95)
    (52, 127)
    """
    if margin <= 0.0:
        return 0
    limit = stats.norm.ppf((1.0 - confidence) / slices)
    rows = 1
    while paired.score_statistic(0, 0, rows, margin) > limit:
        rows += 1
    return rows


def _state(no_worse: float, worse: float, alpha: float) -> State:
    if no_worse <= alpha:
        return "no worse"
    return "worse" if worse <= alpha else "open"
