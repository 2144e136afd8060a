"""What pictures of prunings are drawn from: plain frozen values, of a sweep, a search or a card."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from retrain.pruning import surgery


class Width(msgspec.Struct, frozen=True):
    """How wide a group of a network was, and is."""

    name: str
    before: int
    after: int


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A pruned model, or several of the same kind, as quality against speed.

    Attributes
    ----------
    series
        What its colour stands for, such as the criterion.
    label
        What is written beside it, such as the amount.
    gain
        Times that it is as fast as the dense parent, measured.
    quality
        Mean score, or whatever else is the better the higher.
    gain_spread, quality_spread
        Half lengths of the error bars; 0 draws none.
    """

    series: str
    label: str
    gain: float
    quality: float
    gain_spread: float = 0.0
    quality_spread: float = 0.0


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """What the score loses when one group alone is cut by so much."""

    name: str
    amount: float
    drop: float


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats in both, from the slowest to the fastest.

    Of points that are equal in both, the first stays.

    >>> found = front([Point(series="a", label="", gain=gain, quality=quality)
    ...     for gain, quality in [(1.0, 0.9), (2.0, 0.8), (1.5, 0.7)]])
    >>> [point.gain for point in found]
    [1.0, 2.0]
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (-each.gain, -each.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return tuple(reversed(best))


def widths(cut: surgery.Surgery) -> tuple[Width, ...]:
    """Return how wide every group of a cut was and is, in the order of the network."""
    return tuple(Width(group.name, group.before, group.after) for group in cut.groups)


def in_short(found: Sequence[Width], most: int = 6) -> str:
    """Say in one line what became of the widths.

    >>> in_short([Width("stem", 16, 8), Width("fc", 64, 64)])
    'stem 16 > 8, fc 64'
    """
    shown = [
        f"{width.name} {width.before}"
        + (f" > {width.after}" if width.after != width.before else "")
        for width in found[:most]
    ]
    more = len(found) - most
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
