"""Rows of a file as offline scoring takes them.

A *stretch* is as many rows as are held in memory at once. Each row of the file is either among the
rows that fit the model, or named with the reason why it does not; nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


class Rows(NamedTuple):
    """A stretch of a file: the rows that fit the model, and those that do not."""

    numbers: npt.NDArray[np.int64]
    """Which rows of the file they are, from 0."""
    inputs: dict[str, Array]
    """As the model takes them, rows first."""
    ids: Array | None
    wrong: list[tuple[int, str]]
    """Row of the file and reason, in order."""
    share: float
    """Share of the file that is read, with this stretch."""


class Source(Protocol):
    """An open file of rows."""

    @property
    def rows(self) -> int | None:
        """How many rows it has; `None` where that is known at the end only."""
        ...

    @property
    def id_name(self) -> str | None:
        """What carries the ids."""
        ...

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes as it is read, as far as that is known beforehand."""
        ...

    def stretches(self, rows: int, skip: int) -> Iterator[Rows]:
        """Yield stretches of `rows` rows, without the first `skip` stretches.

        Raises
        ------
        InputError
            The file breaks off, or holds what never becomes what the model takes.
        """
        ...


def sift(stretch: Rows, wrong: Mapping[int, str]) -> Rows:
    """Take the rows at some places of a stretch out of it, and list them as wrong.

    >>> stretch = Rows(np.array([5, 6]), {"x": np.array([1.0, 2.0])}, None, [], 1.0)
    >>> sift(stretch, {0: "a value is missing"}).wrong
    [(5, 'a value is missing')]
    """
    if not wrong:
        return stretch
    good = np.ones(len(stretch.numbers), dtype=bool)
    good[list(wrong)] = False
    found = [(int(stretch.numbers[place]), reason) for place, reason in wrong.items()]
    return Rows(
        stretch.numbers[good],
        {name: array[good] for name, array in stretch.inputs.items()},
        None if stretch.ids is None else stretch.ids[good],
        sorted([*stretch.wrong, *found]),
        stretch.share,
    )
