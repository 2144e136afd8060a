"""How much faster the candidate is than its dense parent, timed in turn, each as it is served.

What counts is the processor's time: on a busy machine the clock on the wall would also time how
long each had to wait for a core, and refuse a candidate for the neighbours' work.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from coppice import clock, project

Runner: TypeAlias = Callable[[Mapping[str, project.Array]], object]
"""Answers one batch."""

Reading: TypeAlias = Callable[[], float]
"""Reads a clock, in seconds; only differences mean anything."""

ROUNDS = 9
"""With 9 rounds the interval leaves out one extreme on each side and still holds 96%."""
ROUND_SECONDS = 0.05
"""Least time of one model's turn; a single run of a small model is too short to be timed."""

MAX_REPEATS = 2000
"""Runs in one turn, however fast the model is."""


class Graph(Protocol):
    """Whatever answers a batch, such as a `coppice.runtime.Session`."""

    def run(self, inputs: Mapping[str, project.Array]) -> object:
        """Answer a batch."""
        ...


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Dense parent against candidate, each as it is served, rounds taken in turn."""

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


def race(
    parent: Graph,
    candidate: Graph,
    inputs: Mapping[str, project.Array],
    *,
    timer: clock.Clock,
    confidence: float = 0.95,
) -> Latency:
    """Time two graphs in turn on the same batch, each as often first as the other.

    Parameters
    ----------
    parent, candidate
        Run by one thread each: the time of several adds up, whether they run side by side or not.
    timer
        Its `processor` is read around each turn.
    confidence
        Level of the gain's interval.
    """
    read = timer.processor
    lanes = [(each.run, repeats(each.run, inputs, read)) for each in (parent, candidate)]
    found: list[list[float]] = [[], []]
    for at in range(ROUNDS):
        for lane in (0, 1) if at % 2 == 0 else (1, 0):
            run, count = lanes[lane]
            found[lane].append(turn(run, inputs, count, read))
    return summarise(*found, confidence=confidence)


def repeats(run: Runner, inputs: Mapping[str, project.Array], read: Reading) -> int:
    """Warm up, and return how many runs a turn needs to take `ROUND_SECONDS`."""
    run(inputs)
    once = turn(run, inputs, 3, read)
    return min(max(1, math.ceil(ROUND_SECONDS / once)), MAX_REPEATS)


def turn(run: Runner, inputs: Mapping[str, project.Array], count: int, read: Reading) -> float:
    """Return the mean seconds of so many runs, one right after the other."""
    start = read()
    for _ in range(count):
        run(inputs)
    # A coarse clock may not have moved at all.
    return max(read() - start, 1e-9) / count


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
