"""Where an input may be moved: what training has seen of it, and what counts as a small step.

A *picture* is an input whose rows have three dimensions or more, channels first; a step is a share
of the range that its channel spans in training. Everything else of floating point is a *table*,
columns last; a step is measured in standard deviations of its column. A column of few whole
numbers is a code (a category, a flag), and half a category is nothing a world could send, so codes
stay as they are, and so do inputs of whole numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import torch

from coppice import project
from coppice.labels import Floats

Kind: TypeAlias = Literal["picture", "table"]

SEEN_ROWS = 5000
"""Training rows that say what an input's values are; more would not move a range by much."""
CODES = 10
"""A column of at most so many different whole numbers is a code."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Terrain:
    """What training has seen of one input; each tensor broadcasts against a row.

    Attributes
    ----------
    kind
        Picture or table.
    low, high
        Smallest and largest value.
    unit
        One step; 0 where nothing may be moved.
    typical
        A value that stands in for a missing one: the lower median, which is one that occurs.
    """

    kind: Kind
    low: torch.Tensor
    high: torch.Tensor
    unit: torch.Tensor
    typical: torch.Tensor


Domain: TypeAlias = Mapping[str, Terrain]
"""By input; those that cannot be moved are left out."""


def survey(split: project.Split) -> dict[str, Terrain]:
    """Look at training rows, and say for each input that can be moved how far.

    >>> rows = np.array([[0.0, 0.1], [1.0, 0.3], [1.0, 0.5]], dtype=np.float32)
    >>> found = survey(project.Split(inputs={"x": rows}, targets=np.zeros(3, int)))["x"]
    >>> found.kind, [round(unit, 3) for unit in found.unit.tolist()]
    ('table', [0.0, 0.163])
    """
    step = max(1, -(-split.rows // SEEN_ROWS))
    found = {
        name: _terrain(np.asarray(array[::step], dtype=np.float64))
        for name, array in split.inputs.items()
        if array.dtype.kind == "f"
    }
    return {name: terrain for name, terrain in found.items() if bool((terrain.unit > 0).any())}


def kinds(domain: Domain) -> set[Kind]:
    """Return what there is to move."""
    return {terrain.kind for terrain in domain.values()}


def stretched(domain: Domain, budgets: Mapping[Kind, float]) -> dict[str, Terrain]:
    """Return the same inputs with a step as long as a budget; kinds without one are left out."""
    return {
        name: dataclasses.replace(terrain, unit=terrain.unit * budgets[terrain.kind])
        for name, terrain in domain.items()
        if terrain.kind in budgets
    }


def box(terrain: Terrain, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how low and how high each value may go: one step, within what training has seen.

    A row that already lies beyond what training has seen may stay where it is.
    """
    low = torch.maximum(rows - terrain.unit, torch.minimum(terrain.low, rows))
    high = torch.minimum(rows + terrain.unit, torch.maximum(terrain.high, rows))
    return low, high


def _terrain(values: Floats) -> Terrain:
    if values.ndim >= 4:
        return _picture(values)
    return _table(values)


def _picture(values: Floats) -> Terrain:
    beside = (0, *range(2, values.ndim))
    low, high = values.min(axis=beside), values.max(axis=beside)
    shape = (-1, *(1 for _ in beside[1:]))
    unit = (high - low).reshape(shape)
    typical = _middle(np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])).reshape(shape)
    return _packed("picture", low.reshape(shape), high.reshape(shape), unit, typical)


def _table(values: Floats) -> Terrain:
    flat = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values[:, np.newaxis]
    spread = flat.std(axis=0)
    spread[[_is_code(column) for column in flat.T]] = 0.0
    parts = (flat.min(axis=0), flat.max(axis=0), spread, _middle(flat))
    # A row of a single number has no dimension that could be a column.
    low, high, unit, typical = (part if values.ndim > 1 else part[0] for part in parts)
    return _packed("table", low, high, unit, typical)


def _is_code(column: Floats) -> bool:
    different = np.unique(column)
    return len(different) <= CODES and bool((different == np.round(different)).all())


def _middle(columns: Floats) -> Floats:
    return np.asarray(np.quantile(columns, 0.5, axis=0, method="lower"))


def _packed(kind: Kind, low: object, high: object, unit: object, typical: object) -> Terrain:
    def tensor(value: object) -> torch.Tensor:
        return torch.as_tensor(value, dtype=torch.float32)

    return Terrain(
        kind=kind, low=tensor(low), high=tensor(high), unit=tensor(unit), typical=tensor(typical)
    )
