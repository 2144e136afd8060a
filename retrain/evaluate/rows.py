"""Rows as plain vectors, with names for their columns: what checks of data work on.

Only numbers and booleans count; texts are left to checks that compare whole rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import project
from retrain.evaluate import section

Matrix: TypeAlias = npt.NDArray[np.float64]
Index: TypeAlias = npt.NDArray[np.integer[Any]]

BLOCK = 256
"""Columns looked at together."""
MOST_VALUES = 12
"""Values of a row shown in an exemplar; more would not fit on a page."""


def numeric(split: project.Split) -> list[str]:
    """Return the names of the inputs that hold numbers or booleans, in order."""
    return [name for name, array in split.inputs.items() if array.dtype.kind in "fiub"]


def matrix(split: project.Split) -> Matrix:
    """Lay all numeric inputs of each row side by side, float64 [rows, columns].

    >>> rows = project.Split(inputs={"x": np.ones((2, 1, 3))}, targets=np.zeros(2))
    >>> matrix(rows).shape
    (2, 3)
    """
    parts = [_flat(split.inputs[name]) for name in numeric(split)]
    empty = np.empty((split.rows, 0))
    return np.concatenate([empty, *parts], axis=1).astype(np.float64)


def _flat(array: project.Array) -> project.Array:
    # The width is told because numpy cannot guess that of no rows.
    return array.reshape(len(array), math.prod(array.shape[1:]))


def blocks(split: project.Split) -> Iterator[project.Array]:
    """Yield the columns of `matrix` from left to right, some hundred at a time, as they are stored.

    Large data are looked at in this way, because a whole matrix of doubles might not fit.
    """
    for name in numeric(split):
        flat = _flat(split.inputs[name])
        for start in range(0, flat.shape[1], BLOCK):
            yield flat[:, start : start + BLOCK]


def column_name(split: project.Split, column: int) -> str:
    """Name a column of `matrix` by its input and its place there.

    >>> rows = project.Split(inputs={"x": np.ones((2, 4, 3))}, targets=np.zeros(2))
    >>> column_name(rows, 5)
    'x[1,2]'
    """
    for name in numeric(split):
        shape = split.inputs[name].shape[1:]
        width = math.prod(shape)
        if column < width:
            place = ",".join(str(int(each)) for each in np.unravel_index(column, shape or (1,)))
            return f"{name}[{place}]" if shape else name
        column -= width
    message = f"there is no column {column} beyond the last"
    raise IndexError(message)


def scales(split: project.Split) -> Matrix:
    """Return the unit in which each column of `matrix` is measured, [columns].

    The columns of a table have units of their own, so each has its own standard deviation. The
    values of a picture or a sequence share one, so they share one deviation: else the noise in a
    corner that is nearly always blank would weigh as much as ink. Constant columns have 0.
    """
    found = [np.empty(0)]
    for name in numeric(split):
        each = _deviations(_flat(split.inputs[name]))
        if split.inputs[name].ndim > 2:
            shared = float(np.sqrt(np.mean(each**2)))
            each = np.where(each > 0, shared, 0.0)
        found.append(each)
    return np.concatenate(found)


def _deviations(flat: project.Array) -> Matrix:
    parts = [
        flat[:, start : start + BLOCK].astype(np.float64).std(axis=0)
        for start in range(0, flat.shape[1], BLOCK)
    ]
    return np.concatenate([np.empty(0), *parts])


def spread(rows: int, most: int) -> Index:
    """Choose at most so many row numbers, evenly spread, always the same ones.

    >>> spread(10, 3).tolist()
    [0, 4, 9]
    """
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def exemplar(split: project.Split, row: int, caption: str) -> section.Exemplar:
    """Show one row: a picture where an input is one, else its first values by name."""
    for name in numeric(split):
        picture = _grey(split.inputs[name][row])
        if picture is not None:
            low, high = _limits(split.inputs[name])
            levels = np.clip((picture - low) / (high - low), 0.0, 1.0).round(3)
            return section.Exemplar(caption=caption, pixels=tuple(map(tuple, levels.tolist())))
    values = matrix(split.take(np.array([row])))[0][:MOST_VALUES]
    named = {column_name(split, at): round(float(value), 6) for at, value in enumerate(values)}
    return section.Exemplar(caption=caption, values=dict(named))


def _grey(array: project.Array) -> Matrix | None:
    """Return an array as a grey picture [h, w], where it is one of at most 64 x 64."""
    picture = np.asarray(array, dtype=np.float64)
    if picture.ndim == 3 and picture.shape[0] in {1, 3}:
        picture = picture.mean(axis=0)
    fits = picture.ndim == 2 and min(picture.shape) >= 4 and max(picture.shape) <= 64
    return picture if fits else None


def _limits(array: project.Array) -> tuple[float, float]:
    low, high = float(array.min()), float(array.max())
    return (low, high) if high > low else (low, low + 1.0)
