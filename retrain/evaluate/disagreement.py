"""Where two models answer differently, and which of them is right there: pure functions.

When two answers differ is the rule of `coppice.labels.differ`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from coppice import labels
from coppice.labels import Floats
from retrain.evaluate import evaluation, intervals, paired


class Disagreement(NamedTuple):
    """Two models on the same rows; counts of rows."""

    rows: int
    share: intervals.Interval
    """Of the rows where they differ."""
    first_better: int
    """Rows of these that the first answers better (for classes: it alone is right)."""
    second_better: int
    neither: int
    """Rows of these where both score the same (for classes: both are wrong)."""


def differ(first: Floats, second: Floats, rules: evaluation.Rules) -> npt.NDArray[np.bool_]:
    """Return where two models answer differently, bool [rows]."""
    return labels.differ(first, second, task=rules.task, scale=rules.scale)


def between(first: Floats, second: Floats, truth: Floats, rules: evaluation.Rules) -> Disagreement:
    """Count where two models differ, and who is right there.

    >>> first, second = np.eye(2)[[0, 0, 1]], np.eye(2)[[0, 1, 0]]
    >>> found = between(first, second, np.zeros(3), evaluation.Rules(task="binary"))
    >>> round(found.share.value, 3), found.first_better, found.second_better
    (0.667, 1, 1)
    """
    apart = differ(first, second, rules)
    outcomes = paired.pair(first, second, truth, task=rules.task, scale=rules.scale).outcomes[apart]
    return Disagreement(
        rows=len(truth),
        share=intervals.wilson(int(apart.sum()), len(truth), confidence=rules.confidence),
        first_better=int((outcomes > 0).sum()),
        second_better=int((outcomes < 0).sum()),
        neither=int((outcomes == 0).sum()),
    )


def excess(
    candidate: npt.NDArray[np.bool_], control: npt.NDArray[np.bool_], *, confidence: float
) -> intervals.Interval:
    """Return how much more often one model differs from the parent than another does.

    Both are seen on the same rows, so Tango's paired interval holds.

    >>> found = excess(np.arange(100) < 9, np.arange(100) < 4, confidence=0.95)
    >>> round(found.value, 3), round(found.low, 3)
    (0.05, 0.011)
    """
    apart = candidate.astype(np.float64) - control.astype(np.float64)
    return intervals.Interval(float(apart.mean()), *paired.interval(apart, confidence=confidence))
