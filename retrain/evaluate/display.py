"""One row of data as something to look at: a grey picture, or its most unusual values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from coppice import project
from coppice.labels import Floats
from retrain.evaluate import section

MOST_PIXELS = 64
"""Longest side of a picture; larger ones are thinned out."""
MOST_VALUES = 8
"""Columns shown of a table, those furthest from the middle of the training rows."""
_CHANNELS = (1, 3, 4)


class Display:
    """Shows rows of one split.

    Parameters
    ----------
    split
        The rows that can be shown; pictures are scaled by their darkest and lightest pixels.
    training
        What is usual.
    """

    def __init__(self, split: project.Split, training: project.Split) -> None:
        self._split = split
        self._pictures = _pictures(split.inputs)
        self._columns = {} if self._pictures is not None else _columns(split.inputs)
        usual = _columns(training.inputs)
        self._middle = {name: float(usual[name].mean()) for name in self._columns}
        self._spread = {name: float(usual[name].std()) or 1.0 for name in self._columns}

    def show(self, row: int, caption: str) -> section.Exemplar:
        """Return one row with a caption; its slices are added to that."""
        named = [f"{family} {values[row]}" for family, values in self._split.slices.items()]
        whole = "; ".join([caption, *named])
        if self._pictures is not None:
            return section.Exemplar(caption=whole, pixels=_pixels(self._pictures[row]))
        return section.Exemplar(caption=whole, values=self._values(row))

    def _values(self, row: int) -> dict[str, section.Cell]:
        found = {name: float(column[row]) for name, column in self._columns.items()}
        unusual = sorted(found, key=lambda name: -self._distance(name, found[name]))
        return {name: round(found[name], 4) for name in unusual[:MOST_VALUES]}

    def _distance(self, name: str, value: float) -> float:
        return abs(value - self._middle[name]) / self._spread[name]


def _pictures(inputs: Mapping[str, project.Array]) -> Floats | None:
    """Return the first input that is an image, grey and in [0, 1], [rows, height, width]."""
    for array in inputs.values():
        grey = _grey(array)
        if grey is not None and min(grey.shape[1:]) >= 4:
            low, high = float(grey.min()), float(grey.max())
            return np.asarray((grey - low) / ((high - low) or 1.0))
    return None


def _grey(array: project.Array) -> Floats | None:
    if array.dtype.kind not in "fiub":
        return None
    values = array.astype(np.float64)
    if values.ndim == 3:
        return values
    if values.ndim == 4 and values.shape[1] in _CHANNELS:
        return np.asarray(values[:, :3].mean(axis=1))
    if values.ndim == 4 and values.shape[3] in _CHANNELS:
        return np.asarray(values[..., :3].mean(axis=3))
    return None


def _pixels(picture: Floats) -> tuple[tuple[float, ...], ...]:
    step = -(-max(picture.shape) // MOST_PIXELS)
    return tuple(
        tuple(round(float(value), 3) for value in line) for line in picture[::step, ::step]
    )


def _columns(inputs: Mapping[str, project.Array]) -> dict[str, Floats]:
    """Name every column of the inputs that are tables of numbers."""
    found: dict[str, Floats] = {}
    for name, array in inputs.items():
        if array.ndim <= 2 and array.dtype.kind in "fiub":
            rows = array.reshape(len(array), -1).astype(np.float64)
            width = rows.shape[1]
            found |= {
                name if width == 1 else f"{name}[{place}]": rows[:, place] for place in range(width)
            }
    return found
