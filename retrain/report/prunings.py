"""What pictures of prunings are drawn from: plain frozen values, of a sweep, a search or a card."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coppice import errors


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
    low, high
        Ends of the error bar of the gain; `None` draws none.
    spread
        Half the error bar of the quality; 0 draws none.
    """

    series: str
    label: str
    gain: float
    quality: float
    low: float | None = None
    high: float | None = None
    spread: float = 0.0


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """What the score loses when one group alone is cut by so much."""

    name: str
    amount: float
    drop: float


def dense(quality: float) -> Point:
    """Return the dense parent as a point, which is as fast as itself."""
    return Point(series="dense parent", label="", gain=1.0, quality=quality)


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats in both, from the slowest to the fastest.

    Of points that are equal in both, the first stays. Give it the dense parent, too: what is slower
    and no better is of no use.

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


class Removed(msgspec.Struct, frozen=True):
    """A block that was left out."""

    module: str


class Masked(msgspec.Struct, frozen=True):
    """A tensor some of whose weights are zero: how many of how many are not, by which pattern."""

    tensor: str
    kept: int
    size: int
    pattern: str


class Whole(msgspec.Struct, frozen=True):
    """A layer that could have been cut but was left, and why."""

    name: str
    reason: str


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What people want to know of a record of surgery; it is read without torch."""

    groups: tuple[Width, ...] = ()
    removed: tuple[Removed, ...] = ()
    masks: tuple[Masked, ...] = ()
    whole: tuple[Whole, ...] = ()

    @property
    def widths(self) -> tuple[Width, ...]:
        """Of groups, and of masked tensors where no group was cut: before and after."""
        masks = tuple(Width(mask.tensor, mask.size, mask.kept) for mask in self.masks)
        return self.groups or masks


def read(text: bytes | str) -> Cut:
    """Read what matters here of a `surgery.json`.

    >>> read('{"schema": 2, "removed": [{"module": "blocks.3", "leaves": "zeros"}]}').removed
    (Removed(module='blocks.3'),)

    Raises
    ------
    ArtifactError
        The text is no such record.
    """
    try:
        return msgspec.json.decode(text, type=Cut)
    except msgspec.MsgspecError as cause:
        message = f"the record of the cut cannot be read ({cause}); prune again to write a new one"
        raise errors.ArtifactError(message) from cause


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
