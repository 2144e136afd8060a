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
LEAST_PIXELS = 4
"""Shortest side of what is taken for a picture."""
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
        images = (name for name, array in split.inputs.items() if _is_image(array))
        self._picture = next(images, None)
        self._bounds = _bounds(split.inputs[self._picture]) if self._picture else (0.0, 1.0)
        self._columns = {} if self._picture else _columns(split.inputs)
        usual = _columns(training.inputs)
        self._middle = {name: float(usual[name].mean()) for name in self._columns}
        self._spread = {name: float(usual[name].std()) or 1.0 for name in self._columns}

    def show(self, row: int, caption: str) -> section.Exemplar:
        """Return one row with a caption; its slices are added to that."""
        named = [f"{family} {values[row]}" for family, values in self._split.slices.items()]
        whole = "; ".join([caption, *named])
        if self._picture is not None:
            picture = _picture(self._split.inputs[self._picture][row], self._bounds)
            return section.Exemplar(caption=whole, pixels=_pixels(picture))
        return section.Exemplar(caption=whole, values=self._values(row))

    def _values(self, row: int) -> dict[str, section.Cell]:
        found = {name: float(column[row]) for name, column in self._columns.items()}
        unusual = sorted(found, key=lambda name: -self._distance(name, found[name]))
        return {name: round(found[name], 4) for name in unusual[:MOST_VALUES]}

    def _distance(self, name: str, value: float) -> float:
        return abs(value - self._middle[name]) / self._spread[name]


def _is_image(array: project.Array) -> bool:
    """Say whether rows are grey [height, width] or have colours first or last, 4 pixels or more."""
    shape = array.shape[1:]
    if array.dtype.kind not in "fiub":
        return False
    if len(shape) == 2:
        return bool(min(shape) >= LEAST_PIXELS)
    if len(shape) != 3 or (shape[0] not in _CHANNELS and shape[2] not in _CHANNELS):
        return False
    sides = shape[1:] if shape[0] in _CHANNELS else shape[:2]
    return bool(min(sides) >= LEAST_PIXELS)


def _bounds(array: project.Array) -> tuple[float, float]:
    """Return the darkest and the lightest value of all images."""
    low, high = float(array.min()), float(array.max())
    return low, high if high > low else low + 1.0


def _picture(image: project.Array, bounds: tuple[float, float]) -> Floats:
    """Return one image, grey and in [0, 1]."""
    values = image.astype(np.float64)
    if values.ndim == 3:
        first = values.shape[0] in _CHANNELS
        # A fourth channel is transparency, which has no brightness.
        values = values[:3].mean(axis=0) if first else values[..., :3].mean(axis=2)
    low, high = bounds
    return np.asarray((values - low) / (high - low))


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
