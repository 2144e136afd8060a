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
    accuracies: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    control: str,
    *,
    level: float = 0.95,
) -> list[Gain]:
    """Compare every criterion with the control.

    The unit is a parent: its differences at all rates are averaged first, because they share the
    parent. The nets are strata of their own, not draws; what is by chance is the seed. Student's t
    with the seeds' spread within the nets, and the level holds for all criteria at once
    (Bonferroni), so that the best one may be picked.

    Parameters
    ----------
    accuracies
        By criterion and net: for each seed the accuracies at the rates, in the same order for all.
    """
    others = [name for name in accuracies if name != control]
    found = []
    for name in others:
        nets = [
            spread(
                [
                    statistics.fmean(a - b for a, b in zip(mine, theirs, strict=True))
                    for mine, theirs in zip(seeds, accuracies[control][net], strict=True)
                ]
            )
            for net, seeds in accuracies[name].items()
        ]
        count = len(next(iter(accuracies[name].values())))
        mean = statistics.fmean(net.mean for net in nets)
        width = math.inf
        if count > 1:
            error = math.sqrt(sum(net.deviation**2 / count for net in nets)) / len(nets)
            tail = (1 - level) / (2 * len(others))
            width = float(stats.t.isf(tail, len(nets) * (count - 1))) * error
        found.append(Gain(name, mean, mean - width, mean + width))
    return sorted(found, key=lambda gain: -gain.mean)
