"""How sure a figure is: intervals by formula where there is a good one, else by resampling.

Shares (accuracy) get score intervals, because a bootstrap of a model that errs on no row says that
it never will. Everything else gets a percentile bootstrap over rows. Rows are drawn plainly, not
within classes: how the classes are mixed in a holdout is itself a matter of chance, and intervals
that hold the mix fixed would be too narrow for the next sample. All models see the same draws, so
that the change between two of them has the variance of a paired comparison.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from coppice.labels import Floats
from retrain.evaluate import weighted

_WORK = 50_000_000
"""Rows times classes times draws that may be spent on one model's figures: a few seconds."""
_CHUNK = 2_000_000
"""Row counts that are held in memory at once."""
LEAST_DRAWS = 100
"""Draws that are made however many the rows are."""


class Interval(NamedTuple):
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def mirrored(self) -> Interval:
        """Return the interval of the negative."""
        # Nought minus it, because minus nought would be written as -0.0.
        return Interval(0.0 - self.value, 0.0 - self.high, 0.0 - self.low)


def wilson(right: int, rows: int, *, confidence: float) -> Interval:
    """Return a share with its score interval.

    >>> [round(end, 3) for end in wilson(50, 50, confidence=0.95)]
    [1.0, 0.929, 1.0]

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    limit = _limit(confidence)
    share, weight = right / rows, limit**2 / rows
    middle = (share + weight / 2.0) / (1.0 + weight)
    spread = limit * math.sqrt(share * (1 - share) / rows + weight / (4 * rows)) / (1.0 + weight)
    return Interval(share, min(middle - spread, share), max(middle + spread, share))


def newcombe(first: Interval, second: Interval) -> Interval:
    """Return the difference of two independent shares out of their own Wilson intervals.

    >>> training, holdout = wilson(100, 100, confidence=0.95), wilson(90, 100, confidence=0.95)
    >>> [round(end, 3) for end in newcombe(training, holdout)]
    [0.1, 0.042, 0.174]

    References
    ----------
    Newcombe, Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17 (1998), 873-890 (method 10).
    """
    change = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(change, change - below, change + above)


def difference(first: Floats, second: Floats, *, confidence: float) -> Interval:
    """Return the difference of the means of two independent samples.

    Samples of only 0 and 1 get Newcombe's interval, others the large-sample one.
    """
    if all(np.isin(sample, (0.0, 1.0)).all() for sample in (first, second)):
        shares = [
            wilson(int(sample.sum()), len(sample), confidence=confidence)
            for sample in (first, second)
        ]
        return newcombe(*shares)
    change = float(first.mean() - second.mean())
    error = math.sqrt(float(first.var() / len(first) + second.var() / len(second)))
    spread = _limit(confidence) * error
    return Interval(change, change - spread, change + spread)


def percentile(value: float, drawn: Floats, *, confidence: float) -> Interval:
    """Return a value with the middle of what resampling made of it.

    The ends are widened to hold the value itself, which a biased figure may lie outside of.
    """
    tail = (1.0 - confidence) / 2.0
    low, high = (float(end) for end in np.quantile(drawn, [tail, 1.0 - tail]))
    return Interval(value, min(low, value), max(high, value))


def draws(rows: int, *, count: int, seed: int) -> Iterator[Floats]:
    """Yield how often each row is drawn, as many draws at once as memory likes [draws, rows].

    >>> [part.sum(axis=1).tolist() for part in draws(3, count=2, seed=0)]
    [[3.0, 3.0]]
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // rows)
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        chosen = generator.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=size * rows)
        yield counts.reshape(size, rows).astype(np.float64)


def affordable(rows: int, columns: int, *, wanted: int) -> int:
    """Return the draws to make: those wanted, or fewer where rows and classes are very many.

    >>> affordable(300, 10, wanted=1000), affordable(100_000, 10, wanted=1000)
    (1000, 100)
    """
    return min(wanted, max(LEAST_DRAWS, _WORK // (rows * columns)))


def resample(
    answers: Floats,
    targets: Floats,
    figures: Mapping[str, weighted.Figure],
    *,
    count: int,
    seed: int,
) -> dict[str, Floats]:
    """Return each figure under every draw [draws]; the same seed gives all models the same rows."""
    parts: dict[str, list[Floats]] = {name: [] for name in figures}
    for weights in draws(len(targets), count=count, seed=seed):
        for name, figure in figures.items():
            parts[name].append(figure(answers, targets, weights))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _limit(confidence: float) -> float:
    return statistics.NormalDist().inv_cdf(0.5 + confidence / 2.0)
