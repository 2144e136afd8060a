"""Rows that turn up twice: the same in every value, or so near that they are copies.

Whether a neighbour is too near depends on how near neighbours usually are, so the yardstick is the
data's own: the median distance of a training row to the nearest other training row. A pair closer
than a fifth of that is a near duplicate. Re-encoded, rescaled or slightly noisy copies lie there;
two takes of the same thing do not: among 449 holdout rows of scanned digits and of cancer cells
the nearest to a training row is half the usual distance away.

References
----------
Barz, Denzler, Do we train on test data? Purging CIFAR of near-duplicates, Journal of Imaging 6
(2020), 41. Johnson, Lindenstrauss, Extensions of Lipschitz mappings into a Hilbert space (1984).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from coppice import project
from retrain import quality
from retrain.evaluate import rows

NEAR = 0.2
"""Share of the usual distance to the nearest neighbour below which a pair is a near duplicate."""
MOST_SEARCHED = 10_000
"""Rows that neighbours are looked for among; beyond, as many evenly spread ones stand for all."""
MOST_ASKED = 2_000
"""Rows that a neighbour is looked for."""
MOST_DIMENSIONS = 256
"""Wider rows are projected at random, which keeps distances within a few percent."""
_YARDSTICK_ROWS = 1000
_BLOCK = 256
"""Rows whose distances to all others are in memory at once."""
_COLUMNS_AT_ONCE = 4096


class Twins(NamedTuple):
    """A row of one split, and the row of another that it equals or nearly equals."""

    row: int
    other: int
    distance: float
    """In units of the usual distance to the nearest neighbour; 0 for an exact copy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
    """Rows of one split that another one holds too.

    Attributes
    ----------
    exact, near
        The twins, in the order of the rows.
    rows
        Rows of the split that were compared for exact copies: all of it.
    compared
        Rows that were compared for near copies too; 0 where the rows hold no numbers that vary.
    """

    exact: tuple[Twins, ...]
    near: tuple[Twins, ...]
    rows: int
    compared: int

    @property
    def exact_share(self) -> float:
        """Share of the rows that are exact copies."""
        return len(self.exact) / max(self.rows, 1)

    @property
    def near_share(self) -> float:
        """Share of the compared rows that are near copies, exact ones not counted."""
        return len(self.near) / max(self.compared, 1)


class Space:
    """Training rows in a space where distances can be compared.

    Parameters
    ----------
    known
        The split that neighbours are looked for in.
    seed
        Of the random projection of wide rows.
    """

    def __init__(self, known: project.Split, *, seed: int) -> None:
        self._scales = rows.scales(known)
        self._kept = self._scales > 0
        self._seed = seed
        self._chosen = rows.spread(known.rows, MOST_SEARCHED)
        self._points = self._place(known.take(self._chosen))
        self._norms = (self._points**2).sum(axis=1)
        self.usual = self._usual()

    def nearest(self, split: project.Split) -> tuple[rows.Index, rows.Matrix]:
        """Return for each row the nearest known one and its distance, in units of the usual one."""
        points = self._place(split)
        found = [self._search(points[at : at + _BLOCK]) for at in range(0, len(points), _BLOCK)]
        places = np.concatenate([np.empty(0, np.int64), *(place for place, _ in found)])
        distances = np.concatenate([np.empty(0), *(distance for _, distance in found)])
        return self._chosen[places], distances / self.usual if self.usual else distances

    def _search(self, points: rows.Matrix) -> tuple[rows.Index, rows.Matrix]:
        squares = self._squares(points)
        places = squares.argmin(axis=1)
        return places, np.sqrt(squares[np.arange(len(points)), places])

    def _squares(self, points: rows.Matrix) -> rows.Matrix:
        squares = (points**2).sum(axis=1)[:, None] + self._norms - 2.0 * points @ self._points.T
        return np.asarray(np.maximum(squares, 0.0))

    def _usual(self) -> float:
        """Return the median distance of a row to the nearest that differs from it; 0 if none."""
        points = self._points[rows.spread(len(self._points), _YARDSTICK_ROWS)]
        nearest = [np.empty(0)]
        for at in range(0, len(points), _BLOCK):
            squares = self._squares(points[at : at + _BLOCK])
            # Rounding leaves a little of the distance of a row to itself and to its copies.
            squares[squares < 1e-9 * (1.0 + self._norms)] = np.inf
            nearest.append(squares.min(axis=1, initial=np.inf))
        found = np.concatenate(nearest)
        found = found[np.isfinite(found)]
        return float(np.sqrt(np.median(found))) if len(found) else 0.0

    def _place(self, split: project.Split) -> rows.Matrix:
        values = rows.matrix(split)[:, self._kept] / self._scales[self._kept]
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        if values.shape[1] <= MOST_DIMENSIONS:
            return values
        generator = np.random.default_rng(self._seed % 2**32)
        whole = np.zeros((len(values), MOST_DIMENSIONS))
        for at in range(0, values.shape[1], _COLUMNS_AT_ONCE):
            part = values[:, at : at + _COLUMNS_AT_ONCE]
            whole += part @ generator.standard_normal((part.shape[1], MOST_DIMENSIONS))
        return np.asarray(whole / np.sqrt(MOST_DIMENSIONS))


def overlap(known: project.Split, split: project.Split, space: Space) -> Overlap:
    """Find the rows of `split` that are in `known` too.

    Parameters
    ----------
    space
        Of `known`.
    """
    first = first_places(known)
    exact = tuple(
        Twins(row, first[mark], 0.0)
        for row, mark in enumerate(quality.fingerprints(split))
        if mark in first
    )
    copied = {twins.row for twins in exact}
    asked = rows.spread(split.rows, MOST_ASKED) if space.usual and split.rows else np.empty(0, int)
    places, distances = space.nearest(split.take(asked))
    near = tuple(
        Twins(int(row), int(place), float(distance))
        for row, place, distance in zip(asked, places, distances, strict=True)
        if distance < NEAR and int(row) not in copied
    )
    return Overlap(exact=exact, near=near, rows=split.rows, compared=len(asked))


def first_places(split: project.Split) -> dict[bytes, int]:
    """Return by fingerprint the first row that has it."""
    found: dict[bytes, int] = {}
    for row, mark in enumerate(quality.fingerprints(split)):
        found.setdefault(mark, row)
    return found


def within(split: project.Split) -> tuple[Twins, ...]:
    """Return each row that repeats an earlier one of the same split, with that one."""
    first = first_places(split)
    return tuple(
        Twins(row, first[mark], 0.0)
        for row, mark in enumerate(quality.fingerprints(split))
        if first[mark] != row
    )
