"""Where channels lie after a view that joins dimensions, and where rows are laid side by side.

The dependency graph knows of whole flattenings of images only, and counts what is joined by its
channels before the flattening. What it is told here for each view that was met on the way through
the model: the shapes before and after, and so the places at which each channel lies in the joined
dimension; and for each join where every part of it lies.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int, ...]


class Span(NamedTuple):
    """Places of one part of what lies side by side."""

    start: int
    width: int

    @property
    def places(self) -> tuple[tuple[int], ...]:
        """Return for each channel of the part its one place.

        >>> Span(start=4, width=2).places
        ((4,), (5,))
        """
        return tuple((place,) for place in range(self.start, self.start + self.width))


def places(before: Shape, after: Shape, channels: int) -> tuple[tuple[int, ...], ...] | None:
    """Return for each channel the places in the joined dimension; `None` if it is not joined.

    Which dimension holds the channels is told by their number: of images and the like the second
    is tried first, of sequences the last.

    >>> places((2, 3, 4), (2, 12), channels=4)
    ((0, 4, 8), (1, 5, 9), (2, 6, 10), (3, 7, 11))
    >>> places((2, 3, 2, 2), (2, 12), channels=3)
    ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11))
    >>> places((2, 3, 4), (6, 4), channels=4) is None
    True
    """
    order = range(1, len(before)) if len(before) > 3 else range(len(before) - 1, 0, -1)
    axis = next((dim for dim in order if before[dim] == channels), None)
    joined = None if axis is None else _joined(before, after, axis)
    if axis is None or joined is None:
        return None
    start, end = joined
    numbers = np.arange(int(np.prod(before[start:end]))).reshape(before[start:end])
    return tuple(
        tuple(numbers.take(channel, axis=axis - start).flatten().tolist())
        for channel in range(channels)
    )


def _joined(before: Shape, after: Shape, axis: int) -> tuple[int, int] | None:
    """Return the run of dimensions, `axis` among them, that became one; `None` for no such."""
    ends = {int(size): place + 1 for place, size in enumerate(itertools.accumulate(before, _times))}
    start = 0
    for size in itertools.accumulate(after, _times):
        end = ends.get(size)
        if end is None:
            return None
        if start <= axis < end:
            return (start, end) if end - start > 1 and start > 0 else None
        start = end
    return None


def _times(product: int, size: int) -> int:
    return product * size


class Follow:
    """Maps channels to their places, or places to the channels that lie there."""

    def __init__(self, found: Sequence[Sequence[int]], *, back: bool) -> None:
        forth = {channel: tuple(spots) for channel, spots in enumerate(found)}
        self.found: Mapping[int, Sequence[int]] = forth
        if back:
            self.found = {spot: (channel,) for channel, spots in forth.items() for spot in spots}

    def __call__(self, indices: Sequence[Any]) -> list[Any]:
        """Return the graph's indices on the other side, each once."""
        moved = (
            index._replace(idx=other)  # the graph's own pair of an index and its root
            for index in indices
            for other in self.found.get(index.idx, ())
        )
        return list(dict.fromkeys(moved))
