"""Values that the reference has never seen: missing, out of range, or a new category (pure).

A column of at most `MOST_CATEGORIES` different whole numbers in the reference holds categories: a
value that is none of them is new. Of any other column the values below the reference's least and
above its largest are counted. Some are to be expected: if window and reference are alike, then the
chance that the k largest of all their rows are all in the window is

    m/(n+m) * (m-1)/(n+m-1) * ... * (m-k+1)/(n+m-k+1)        (m rows of window, n of reference)

whatever the distribution, so counts are called unusual below the stated rate over all columns and
both sides. These counts see what a test of the whole distribution does not: a few wild values.
They are shown; they do not decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

MOST_CATEGORIES = 20
"""A column of more different values holds quantities."""


class Violations(msgspec.Struct, frozen=True):
    """What one window holds that the reference does not, by column; columns without any are out."""

    rows: int
    missing: dict[str, int] = {}
    """Values that are NaN or infinite."""
    outside: dict[str, int] = {}
    """Values below the least or above the largest of the reference."""
    new: dict[str, int] = {}
    """Values of a column of categories that the reference does not have."""
    unusual: tuple[str, ...] = ()
    """Columns where it is more than chance explains."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """What the reference has seen, column by column; made by `of`."""

    names: tuple[str, ...]
    rows: int
    low: Floats
    high: Floats
    categories: tuple[Floats | None, ...]
    """The known values of a column of categories; `None` for quantities."""
    rate: float

    @classmethod
    def of(cls, reference: Floats, names: Sequence[str], rate: float) -> Ranges:
        """Learn the ranges of a reference [rows, columns]; infinite and NaN values do not count.

        Raises
        ------
        ValueError
            It has no rows, or another number of columns than names.
        """
        values = np.asarray(reference, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(names) or not len(values):
            message = f"need rows of {len(names)} columns; got {list(values.shape)}"
            raise ValueError(message)
        finite = np.isfinite(values)
        return cls(
            tuple(names),
            len(values),
            np.where(finite, values, np.inf).min(axis=0),
            np.where(finite, values, -np.inf).max(axis=0),
            tuple(_categories(column) for column in values.T),
            rate,
        )

    def look(self, window: Floats) -> Violations:
        """Count what a window [rows, columns] holds that the reference does not.

        Examples
        --------
        >>> reference = np.linspace(0.0, 1.0, 1000).reshape(-1, 1)
        >>> window = np.array([[0.5]] * 96 + [[7.0]] * 4)
        >>> Ranges.of(reference, ("x",), 0.01).look(window)
        Violations(rows=100, missing={}, outside={'x': 4}, new={}, unusual=('x',))
        """
        values = np.asarray(window, dtype=np.float64)
        missing = ~np.isfinite(values)
        below = ((values < self.low) & ~missing).sum(axis=0)
        above = ((values > self.high) & ~missing).sum(axis=0)
        fresh = np.array([_fresh(*pair) for pair in zip(values.T, self.categories, strict=True)])
        quantities = np.array([known is None for known in self.categories], dtype=bool)
        rare = np.array(
            [
                self._is_unusual(len(values), *map(int, counts))
                for counts in zip(below, above, fresh, missing.sum(axis=0), strict=True)
            ],
            dtype=bool,
        )
        return Violations(
            rows=len(values),
            missing=self._named(missing.sum(axis=0)),
            outside=self._named(np.where(quantities, below + above, 0)),
            new=self._named(fresh),
            unusual=tuple(name for name, is_rare in zip(self.names, rare, strict=True) if is_rare),
        )

    def _is_unusual(self, rows: int, below: int, above: int, fresh: int, missing: int) -> bool:
        level = self.rate / (2 * len(self.names))
        most = max(below, above, fresh)
        return missing > 0 or (most > 0 and beyond_chance(most, rows, self.rows) < level)

    def _named(self, counts: npt.NDArray[np.integer[Any]]) -> dict[str, int]:
        return {name: int(n) for name, n in zip(self.names, counts, strict=True) if n}


def beyond_chance(count: int, rows: int, reference: int) -> float:
    """Return the chance that the `count` largest of all rows are all in the window.

    >>> round(beyond_chance(2, rows=400, reference=3600), 4)
    0.01
    """
    places = np.arange(min(count, rows))
    return float(np.prod((rows - places) / (reference + rows - places)))


def _categories(column: Floats) -> Floats | None:
    known = np.unique(column[np.isfinite(column)])
    is_category = len(known) <= MOST_CATEGORIES and bool((known == np.round(known)).all())
    return known if is_category else None


def _fresh(column: Floats, known: Floats | None) -> int:
    if known is None:
        return 0
    return int((np.isfinite(column) & ~np.isin(column, known)).sum())
