"""Which shapes are worth a probe, and which one to probe next. Pure.

The front holds what nothing else beats: less predicted damage at every step towards dense, less
cost at every step away from it. Probing it all would take hours. If damage only ever grows along
the front, halving finds the last width that meets the budget; since it is measured on a sample,
one more step beyond the first failure is tried before that is believed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

STEP = 1.02
"""How many times better the next point of a front has to be; less is noise of the clock."""
CONTENDERS = 3
"""Most points of a rung: of about the same gain, on different grounds."""
RUNG = 1.2
"""How many times better each rung of the ladder is than the one before."""


class Point(NamedTuple):
    """A shape by number, how many times better than dense it is, and its predicted damage."""

    number: int
    gain: float
    damage: float
    kind: int = 0
    """What it stands on: damage is hard to compare from one ground to another."""


def pareto(points: Sequence[Point], step: float = STEP) -> list[Point]:
    """Return the points that no other beats in both, from the least damage to the highest gain.

    >>> points = [Point(0, 2.0, 0.3), Point(1, 1.5, 0.1), Point(2, 1.4, 0.2), Point(3, 3.0, 0.9)]
    >>> [point.number for point in pareto(points)]
    [1, 0, 3]
    """
    best: list[Point] = []
    reached = 1.0
    for point in sorted(points, key=lambda point: (point.damage, -point.gain, point.number)):
        if point.gain >= reached * step:
            best.append(point)
            reached = point.gain
    return best


def ladder(
    points: Sequence[Point], most: int = CONTENDERS, rung: float = RUNG
) -> list[tuple[Point, ...]]:
    """Return rungs of ever higher gain; on each, the mildest point that reaches it of every kind.

    Of the kinds, those that are predicted to do least damage are taken. The highest gain there is
    always is a rung.

    >>> low, high, deep = Point(0, 1.5, 0.1), Point(1, 3.0, 0.9), Point(2, 3.1, 0.5, kind=1)
    >>> [[point.number for point in rung] for rung in ladder([low, high, deep], rung=2.0)]
    [[0, 2], [2, 1], [2]]
    """
    lines = {kind: pareto([p for p in points if p.kind == kind]) for kind in _kinds(points)}
    best = max((line[-1].gain for line in lines.values() if line), default=1.0)
    count = max(math.ceil(math.log(best / STEP) / math.log(rung)), 0)
    rungs: list[tuple[Point, ...]] = []
    for number in range(count, -1, -1):
        gain = max(best / rung**number, STEP)
        reach = [next((p for p in line if p.gain >= gain), None) for line in lines.values()]
        found = sorted((p for p in reach if p is not None), key=lambda p: (p.damage, -p.gain))
        if found and tuple(found[:most]) not in rungs:
            rungs.append(tuple(found[:most]))
    return rungs


def _kinds(points: Sequence[Point]) -> list[int]:
    return sorted({point.kind for point in points})


def next_probe(known: Mapping[int, bool], count: int) -> int | None:
    """Return the place on the front to probe next, or `None` where all is known that is needed.

    Parameters
    ----------
    known
        Of each place that was probed, whether it met the budget.
    count
        Points of the front.

    Examples
    --------
    >>> next_probe({}, 5), next_probe({2: True}, 5), next_probe({2: True, 3: False}, 5)
    (2, 3, 4)
    """
    low = max((place for place, met in known.items() if met), default=-1)
    high = min((place for place, met in known.items() if not met and place > low), default=count)
    if high - low > 1:
        return (low + high) // 2
    beyond = high + 1
    return beyond if beyond < count and beyond not in known else None


def reaching(points: Sequence[Point], gain: float, most: int = CONTENDERS) -> list[Point]:
    """Return some points that are so many times better than dense, the least damage first.

    Of every kind the mildest comes before the second of any.
    """
    reached = sorted(
        (point for point in points if point.gain >= gain),
        key=lambda point: (point.damage, -point.gain, point.number),
    )
    seen: dict[int, int] = {}
    ranked = []
    for point in reached:
        seen[point.kind] = seen.get(point.kind, 0) + 1
        ranked.append((seen[point.kind], point))
    return [point for _, point in sorted(ranked, key=lambda pair: pair[0])[:most]]


def interpolated(known: Mapping[int, float], count: int, units: int) -> float:
    """Return the damage at a count between those measured, on straight lines; whole does none.

    Measured damage is first made to grow as less stays: where it fell, that was noise.

    >>> interpolated({8: 0.4, 24: 0.1}, 16, 32), interpolated({8: 0.4, 24: 0.1}, 28, 32)
    (0.25, 0.05)
    >>> interpolated({8: 0.4, 24: 0.6}, 16, 32)
    0.6
    """
    line, worst = {units: 0.0}, 0.0
    for place in sorted(known, reverse=True):
        worst = max(worst, known[place])
        line[place] = worst
    below = max((place for place in line if place <= count), default=min(line))
    above = min((place for place in line if place >= count), default=units)
    if above == below:
        return line[below]
    share = (above - count) / (above - below)
    found = line[above] + share * (line[below] - line[above])
    return found if math.isfinite(found) else worst
