"""The bets behind every test here: a fixed grid, its growth by an outcome, and its wealth.

A bet stakes a share of its wealth on each outcome in [-1, 1]: W = product of
(1 + bet * (outcome - margin)) grows where outcomes lie above the margin, and W = product of
(1 + bet * (margin - outcome)) where they lie below. While the null holds (the mean is on the other
side), no bet can be expected to grow, and neither can a fixed mixture of several. All wealth is
kept as a natural logarithm, all bets lie strictly inside the interval in which no outcome loses
everything.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

SHARES = (0.02, 0.05, 0.09, 0.16, 0.28, 0.5, 0.9)
"""The grid: bets as shares of the largest one that cannot lose all.

The best bet is about (mean - margin) / variance: small bets serve weak effects among many
disagreements, large ones strong effects or rare disagreements. A harmless candidate that disagrees
on 3% of the requests is best bet on with a share of 1/3.
"""

WEIGHTS = tuple(weight / 15 for weight in (1, 2, 2, 3, 3, 3, 1))
"""The part of the wealth that each bet starts with; they add up to one.

A bet with the part w costs at most log(1 / w) against having known that it is the best, so most is
laid where candidates that differ on 2% to 10% of the requests are decided. The smallest bet is for
candidates that differ on more than a third, where larger ones would decide never.
`bench/decisions.py` shows this grid beside others.
"""

EVEN: tuple[float, ...] = (0.0,) * len(SHARES)
"""Log wealth per bet before the first outcome, in units of its part."""


@functools.lru_cache(maxsize=256)
def _sizes(largest_loss: float) -> Floats:
    return np.array(SHARES) / largest_loss


def growth_above(outcomes: float | Sequence[float] | Floats, margin: float) -> Floats:
    """Return the log growth of each bet on "the mean is above `margin`", [..., bets].

    Bets lie in (0, 1 / (1 + margin)), as the worst outcome is -1.
    """
    gains = np.asarray(outcomes, dtype=np.float64)[..., None] - margin
    return np.log1p(_sizes(1.0 + margin) * gains)


def growth_below(outcomes: float | Sequence[float] | Floats, margin: float) -> Floats:
    """Return the log growth of each bet on "the mean is below `margin`", [..., bets].

    Bets lie in (0, 1 / (1 - margin)), as the worst outcome is 1.
    """
    gains = margin - np.asarray(outcomes, dtype=np.float64)[..., None]
    return np.log1p(_sizes(1.0 - margin) * gains)


def mixture(log_wealth: Floats) -> Floats:
    """Return the log of the whole wealth over the bets, [..., bets] -> [...].

    >>> float(mixture(np.log(np.full(len(SHARES), 3.0))).round(6)) == round(float(np.log(3.0)), 6)
    True
    """
    best = log_wealth.max(axis=-1)
    return np.asarray(best + np.log(np.exp(log_wealth - best[..., None]) @ np.array(WEIGHTS)))
