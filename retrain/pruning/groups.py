"""Coupled groups: which slices of which tensors must go together.

Removing one channel of a layer also removes a column of every layer that reads it, an entry of the
norm between them, and the same channel of every layer that is added to it. A *unit* of a group is
the smallest such set; a group's units can be removed one by one, its axes say what each unit owns.
Nothing here knows how the groups were found, and nothing here changes a model.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch

NOBODY = -1
"""The owner of an index that belongs to no unit of the group."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """One dimension of one tensor, or one attribute that counts channels.

    Attributes
    ----------
    path
        Dotted name from the model, e.g. `stem.0.weight`, or `stem.0.out_channels`.
    dim
        The tensor's dimension; `None` for an attribute.
    owners
        For each index along the dimension the unit that owns it, or `NOBODY`.
    """

    path: str
    dim: int | None
    owners: tuple[int, ...]


Leaves: TypeAlias = Literal["input", "zeros"]
"""What stays of a block: what it would have read, or nothing where it was added to that."""


class Block(NamedTuple):
    """A module that can be left out as a whole."""

    module: str
    leaves: Leaves


@dataclasses.dataclass(frozen=True)
class CoupledGroup:
    """Units that can be removed one by one.

    Attributes
    ----------
    name
        The layer whose outputs go, as the model names it.
    units
        How many there are.
    axes
        Everything that the units own.
    blocks
        The units lie in so many equal runs (attention heads, normalisation groups), and as many
        must stay in each.
    width
        Channels of one layer that make up a unit; above 1 where a grouped convolution ties them.
    runs
        The units lie in so many equal runs that are widths of their own (the hidden units of each
        layer and direction of a recurrent layer): each is aligned by itself, where heads are
        aligned as a whole. A divisor of `blocks`.
    modules
        Where the units are whole blocks of the model, what they are.
    """

    name: str
    units: int
    axes: tuple[Axis, ...]
    blocks: int = 1
    width: int = 1
    runs: int = 1
    modules: tuple[Block, ...] = ()


def per_unit(group: CoupledGroup, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Sum values over all that each unit owns, over the tensors that are given.

    Parameters
    ----------
    values
        By tensor name, each in the shape of its tensor; tensors left out count nothing.

    Returns
    -------
    torch.Tensor
        float64 [units].

    Examples
    --------
    >>> group = CoupledGroup("fc", 2, (Axis("fc.weight", 0, (0, 1)), Axis("out.weight", 1, (0, 1))))
    >>> per_unit(group, {"fc.weight": torch.ones(2, 3), "out.weight": torch.ones(1, 2)}).tolist()
    [4.0, 4.0]
    """
    sums = torch.zeros(group.units + 1, dtype=torch.float64)
    for axis in group.axes:
        if axis.dim is not None and axis.path in values:
            value = values[axis.path].double()
            # Index -1 is the spare last place, where what nobody owns is collected and dropped.
            owners = torch.tensor(axis.owners) % (group.units + 1)
            sums.index_add_(
                0, owners, value.movedim(axis.dim, 0).reshape(len(owners), -1).sum(dim=1)
            )
    return sums[: group.units]


def kept_count(
    units: int, amount: float, *, align: int = 1, blocks: int = 1, width: int = 1, runs: int = 1
) -> int:
    """Say how many units stay: the multiple of a step nearest to `units * (1 - amount)`.

    The step is the fewest units that make up a multiple of `align` channels, in each run, and as
    many in each block. Ties go up (less is removed), at least one step stays, and a group that is
    smaller than one step, or loses nothing, stays whole.

    >>> [kept_count(n, 0.5, align=8) for n in (96, 24, 8, 6)]
    [48, 16, 8, 6]
    >>> kept_count(96, 2 / 3)
    32
    >>> kept_count(4 * 24, 0.5, align=8, blocks=4, runs=4) // 4
    16
    """
    step = runs * math.lcm(align // math.gcd(align, width), blocks // runs)
    if amount == 0 or units < step:
        return units
    # A share such as 2/3 must not lose a channel to the last bit of a float.
    nearest = math.floor(round(units * (1 - amount) / step, 9) + 0.5) * step
    return min(max(nearest, step), units)


def choose(group: CoupledGroup, scores: torch.Tensor, keep: int) -> tuple[int, ...]:
    """Return the units that stay: the best of each block, ties to the lower index, sorted.

    >>> choose(CoupledGroup("fc", 4, (), blocks=2), torch.tensor([4.0, 3.0, 1.0, 2.0]), keep=2)
    (0, 3)
    """
    size = group.units // group.blocks
    best = scores.reshape(group.blocks, size).argsort(dim=1, descending=True, stable=True)
    kept = best[:, : keep // group.blocks] + torch.arange(group.blocks)[:, None] * size
    return tuple(sorted(kept.flatten().tolist()))


def merged(classes: Sequence[Sequence[int]], count: int) -> tuple[int, ...]:
    """Number the sets that arise when indices named together are joined, in order of their first.

    >>> merged([(0, 2), (1, 3)], count=5)
    (0, 1, 0, 1, 2)
    """
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for members in classes:
        for member in members:
            first, second = sorted((root(members[0]), root(member)))
            parent[second] = first
    numbers = {
        index: number for number, index in enumerate(sorted({root(i) for i in range(count)}))
    }
    return tuple(numbers[root(index)] for index in range(count))
