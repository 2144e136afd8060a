"""Means, spreads and intervals of the pruning bench: figures in, figures out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scipy import stats


class Spread(NamedTuple):
    """Mean and standard deviation over seeds."""

    mean: float
    deviation: float

    def points(self) -> str:
        """Write shares as percentage points."""
        return f"{100 * self.mean:.2f} ± {100 * self.deviation:.2f}"


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation; of one value the deviation is not a number."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation)


class Gain(NamedTuple):
    """By how much a criterion beats chance, with an interval, as a share of the test pictures."""

    criterion: str
    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Say whether it is above random."""
        if self.low > 0:
            return "above random"
        return "below random" if self.high < 0 else "not told apart from random"


def gains(
    accuracies: Mapping[str, Mapping[tuple[str, int], Sequence[float]]],
    control: str,
    *,
    level: float = 0.95,
) -> list[Gain]:
    """Compare every criterion with the control.

    The unit is a parent (network and seed): its differences at all rates are averaged first,
    because they share the parent. Student's t over the parents, and the level holds for all
    criteria at once (Bonferroni), so that the best one may be picked.

    Parameters
    ----------
    accuracies
        By criterion and parent the accuracies at the rates, in the same order for all.
    """
    others = [name for name in accuracies if name != control]
    found = []
    for name in others:
        each = [
            statistics.fmean(
                a - b for a, b in zip(values, accuracies[control][parent], strict=True)
            )
            for parent, values in accuracies[name].items()
        ]
        mean, deviation = spread(each)
        width = math.inf
        if len(each) > 1:
            tail = (1 - level) / (2 * len(others))
            width = float(stats.t.isf(tail, len(each) - 1)) * deviation / math.sqrt(len(each))
        found.append(Gain(name, mean, mean - width, mean + width))
    return sorted(found, key=lambda gain: -gain.mean)
