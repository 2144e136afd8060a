"""Two models on the same rows: how much score the second lost, and how sure that is.

Comparing row by row removes what both share (the difficulty of the rows), so the interval is far
narrower than that of two separate accuracies. Pure functions over answers and targets.
"""

from __future__ import annotations

import dataclasses
import math
import statistics

import msgspec
import numpy as np
import numpy.typing as npt

from coppice import labels
from coppice.labels import Floats

DRAWS = 2000
"""Bootstrap draws for outcomes that are not just lost, tied or gained."""
_STEPS = 60
"""Bisection steps: halves [-1, 1] to below the precision of a double."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What one model lost against another on the same rows; shares and scores lie in [0, 1]."""

    rows: int
    drop: float
    """Mean score of the reference minus that of the candidate: positive where score was lost."""
    low: float
    """Lower end of the drop's confidence interval."""
    high: float
    """Upper end of the drop's confidence interval."""
    disagreement: float
    """Mean bound on the difference of the two answers whatever the truth (for classes: the share
    of rows where they name different ones)."""
    new_errors: float
    """Share of rows that the reference answers better."""
    fixed: float
    """Share of rows that the candidate answers better."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Two models' answers to the same rows, as what they differ by; both arrays are [rows]."""

    outcomes: Floats
    """Score of the reference minus score of the candidate, in [-1, 1]."""
    divergence: Floats
    """How far the two answers lie apart whatever the truth, in [0, 1]."""

    def take(self, mask: npt.NDArray[np.bool_]) -> Pairs:
        """Return the rows that a mask selects."""
        return Pairs(outcomes=self.outcomes[mask], divergence=self.divergence[mask])


def pair(
    reference: Floats, candidate: Floats, targets: Floats, *, task: labels.Task, scale: float = 1.0
) -> Pairs:
    """Put two models' answers to the same rows side by side."""
    before = labels.scores(reference, targets, task=task, scale=scale)
    after = labels.scores(candidate, targets, task=task, scale=scale)
    return Pairs(
        outcomes=before - after,
        divergence=labels.divergence(reference, candidate, task=task, scale=scale),
    )


def compare(pairs: Pairs, *, confidence: float, seed: int = 0) -> Comparison:
    """Summarise paired answers.

    Examples
    --------
    >>> pairs = Pairs(outcomes=np.array([1.0] * 7 + [-1.0] + [0.0] * 13), divergence=np.zeros(21))
    >>> found = compare(pairs, confidence=0.95)
    >>> round(found.drop, 3), round(found.low, 3), round(found.high, 3)
    (0.286, 0.026, 0.517)
    """
    low, high = interval(pairs.outcomes, confidence=confidence, seed=seed)
    return Comparison(
        rows=len(pairs.outcomes),
        drop=float(pairs.outcomes.mean()),
        low=low,
        high=high,
        disagreement=float(pairs.divergence.mean()),
        new_errors=float((pairs.outcomes > 0).mean()),
        fixed=float((pairs.outcomes < 0).mean()),
    )


def interval(outcomes: Floats, *, confidence: float, seed: int = 0) -> tuple[float, float]:
    """Return a confidence interval for the mean of paired outcomes in [-1, 1].

    Outcomes that are only -1, 0 or 1 (classes) get Tango's score interval, which stays honest with
    a handful of differing rows, where a bootstrap is too narrow (with none it has no width at all).
    Other outcomes (regression) get a percentile bootstrap with a fixed seed.
    """
    if np.isin(outcomes, (-1.0, 0.0, 1.0)).all():
        lost, gained = int((outcomes > 0).sum()), int((outcomes < 0).sum())
        return tango(lost, gained, len(outcomes), confidence=confidence)
    return _bootstrap(outcomes, confidence=confidence, seed=seed)


def tango(lost: int, gained: int, rows: int, *, confidence: float) -> tuple[float, float]:
    """Return the score interval of the difference of two paired shares, (lost - gained) / rows.

    Parameters
    ----------
    lost, gained
        Rows that only the reference, or only the candidate, answers rightly.
    rows
        All rows, those with equal answers included.

    Examples
    --------
    >>> [round(end, 4) for end in tango(0, 0, 100, confidence=0.95)]
    [-0.037, 0.037]

    References
    ----------
    Tango, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17 (1998), 891-908.
    """
    limit = statistics.NormalDist().inv_cdf(0.5 + confidence / 2.0)
    return (
        _crossing(lost, gained, rows, statistic=limit),
        _crossing(lost, gained, rows, statistic=-limit),
    )


def _crossing(lost: int, gained: int, rows: int, *, statistic: float) -> float:
    # The statistic falls as the supposed difference grows, so bisection finds where it crosses.
    low, high = -1.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if score_statistic(lost, gained, rows, middle) > statistic:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def score_statistic(lost: int, gained: int, rows: int, difference: float) -> float:
    """Return Tango's score statistic for one supposed difference.

    The share of gained rows under the supposition is the larger root of a quadratic.
    """
    linear = (2 * rows - lost + gained) * difference - lost - gained
    constant = -gained * difference * (1.0 - difference)
    root = math.sqrt(max(linear**2 - 8 * rows * constant, 0.0))
    share = (root - linear) / (4 * rows)
    variance = rows * (2.0 * share + difference * (1.0 - difference))
    distance = lost - gained - rows * difference
    if variance <= 0.0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _bootstrap(outcomes: Floats, *, confidence: float, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    rows = len(outcomes)
    means = [outcomes[generator.integers(rows, size=rows)].mean() for _ in range(DRAWS)]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)
