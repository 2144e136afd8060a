"""How much faster the candidate is, from timings taken in turn: pure arithmetic over seconds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Dense parent against candidate in the same runtime, rounds taken in turn."""

    parent_seconds: float
    """Median time of one batch, dense parent."""
    candidate_seconds: float
    """Median time of one batch, candidate."""
    gain: float
    """Median over the rounds of parent seconds over candidate seconds."""
    low: float
    """Lower end of the gain's confidence interval."""
    high: float
    """Upper end of the gain's confidence interval."""


def summarise(
    parent: Sequence[float], candidate: Sequence[float], *, confidence: float = 0.95
) -> Latency:
    """Turn paired rounds into a gain with an interval.

    Each round times both models right after each other, so a slow moment of the machine hits both
    and leaves the ratio alone. The interval is the sign test's: between two order statistics,
    whatever the distribution; with fewer than 6 rounds it is their whole range.

    Examples
    --------
    >>> found = summarise([2.0] * 9, [1.0] * 9)
    >>> found.gain, found.low, found.high
    (2.0, 2.0, 2.0)
    """
    ratios = sorted(before / after for before, after in zip(parent, candidate, strict=True))
    skip = _skipped(len(ratios), confidence)
    return Latency(
        parent_seconds=statistics.median(parent),
        candidate_seconds=statistics.median(candidate),
        gain=statistics.median(ratios),
        low=ratios[skip],
        high=ratios[-1 - skip],
    )


def _skipped(rounds: int, confidence: float) -> int:
    """Return how many extremes on each side the interval may leave out.

    The median lies outside the k-th smallest and k-th largest of n values with probability
    2 P(Binomial(n, 1/2) < k).
    """
    outside = 0.0
    for skip in range(rounds // 2):
        outside += 2.0 * math.comb(rounds, skip) / 2.0**rounds
        if outside > 1.0 - confidence:
            return max(skip - 1, 0)
    return max(rounds // 2 - 1, 0)
