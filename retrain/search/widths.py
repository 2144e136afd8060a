"""Which widths are worth a look: coupled groups in families, and for each a few aligned counts.

Pure. Groups are cut in families, because every group by itself would make more combinations than
can be measured. A family goes through counts that runtimes are fast at: one or three times a power
of two times the alignment, of its widest group; its other groups keep the same share.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from coppice.labels import Floats
from retrain.pruning import allocation, groups

FAMILIES = 6
"""Most families; with more of them the grid would be too coarse in each."""
COMBINATIONS = 200_000
"""Most combinations whose cost and damage are predicted."""
EACH = 3
"""Combinations of about the same predicted cost that are kept."""

Widths: TypeAlias = Mapping[str, int]
"""Units that stay, by the name of the group."""


@dataclasses.dataclass(frozen=True)
class Family:
    """Groups that keep the same share.

    Attributes
    ----------
    groups
        The widest first.
    levels
        For each level, from the narrowest to whole, the units that stay of each group.
    """

    groups: tuple[groups.CoupledGroup, ...]
    levels: tuple[tuple[int, ...], ...]


def step(group: groups.CoupledGroup, align: int) -> int:
    """Return the fewest units of a group that may stay; all of them where it is never cut.

    >>> step(groups.CoupledGroup("fc", 64, ()), 8), step(groups.CoupledGroup("fc", 6, ()), 8)
    (8, 6)
    """
    return allocation.kept(group, group.units, 1.0, align)


def counts(group: groups.CoupledGroup, align: int) -> tuple[int, ...]:
    """Return the counts that a group goes through, from one step to whole.

    >>> counts(groups.CoupledGroup("fc", 100, ()), 8)
    (8, 16, 24, 32, 48, 64, 96, 100)
    """
    least = step(group, align)
    powers = [least << power for power in range(group.units.bit_length())]
    return tuple(
        sorted(
            {count for power in powers for count in (power, 3 * power) if count < group.units}
            | {group.units}
        )
    )


def families(
    coupled: Sequence[groups.CoupledGroup], align: int, most: int = FAMILIES
) -> tuple[Family, ...]:
    """Put groups into at most so many families; groups that cannot be cut are in none.

    The finest of these is taken that makes few enough: each group by itself; those of the same
    size that are, or are not, shared by several layers; those of the same size; neighbours in size.
    """
    free = [group for group in coupled if step(group, align) < group.units]
    ways: list[Callable[[groups.CoupledGroup], tuple[object, ...]]] = [
        lambda group: (group.name,),
        lambda group: (*_size(group), _producers(group) > 1),
        _size,
    ]
    tried = (_bundled(free, way) for way in ways)
    few = next((bundles for bundles in tried if len(bundles) <= most), None)
    bundles = _neighbours(_bundled(free, ways[-1]), most) if few is None else few
    return tuple(_family(bundle, align) for bundle in bundles)


def _size(group: groups.CoupledGroup) -> tuple[int, ...]:
    return group.units, group.width, group.blocks, group.runs


def _producers(group: groups.CoupledGroup) -> int:
    """Count the layers whose outputs a group is: several write one residual stream."""
    return sum(axis.path.endswith((".out_channels", ".out_features")) for axis in group.axes)


def _bundled(
    coupled: Sequence[groups.CoupledGroup],
    way: Callable[[groups.CoupledGroup], tuple[object, ...]],
) -> list[list[groups.CoupledGroup]]:
    found: dict[tuple[object, ...], list[groups.CoupledGroup]] = {}
    for group in coupled:
        found.setdefault(way(group), []).append(group)
    return list(found.values())


def _neighbours(
    bundles: list[list[groups.CoupledGroup]], most: int
) -> list[list[groups.CoupledGroup]]:
    ordered = sorted(bundles, key=lambda bundle: bundle[0].units * bundle[0].width)
    parts = np.array_split(np.arange(len(ordered)), most)
    return [[group for place in part for group in ordered[place]] for part in parts]


def _family(bundle: Sequence[groups.CoupledGroup], align: int) -> Family:
    ordered = tuple(sorted(bundle, key=lambda group: -group.units))
    lead = ordered[0]
    levels = tuple(
        tuple(
            allocation.kept(group, group.units, 1.0 - count / lead.units, align)
            for group in ordered
        )
        for count in counts(lead, align)
    )
    return Family(ordered, levels)


def combinations(found: Sequence[Family], most: int = COMBINATIONS) -> list[tuple[int, ...]]:
    """Return every combination of the families' levels, by their places; the whole one is last.

    Where there are too many, the family with the most levels goes by every second one.

    >>> pair = [Family((), ((8,), (16,), (24,))), Family((), ((4,), (8,)))]
    >>> combinations(pair)[0], combinations(pair)[-1], len(combinations(pair))
    ((0, 0), (2, 1), 6)
    """
    places = [list(range(len(family.levels))) for family in found]
    while np.prod([float(len(each)) for each in places]) > most:
        longest = max(range(len(places)), key=lambda place: len(places[place]))
        # From the end, because whole must stay; the narrowest may go.
        places[longest] = places[longest][::-1][::2][::-1]
    return list(itertools.product(*places))


def chosen(found: Sequence[Family], places: Sequence[int]) -> dict[str, int]:
    """Return the units that stay of every group at the levels of a combination."""
    return {
        group.name: count
        for family, place in zip(found, places, strict=True)
        for group, count in zip(family.groups, family.levels[place], strict=True)
    }


def thinned(
    cost: Floats,
    damage: Floats,
    most: int,
    each: int = EACH,
    *,
    kinds: npt.NDArray[np.int64] | None = None,
) -> list[int]:
    """Return the places of a few combinations that cover all costs: of each cost the mildest.

    The costs' logarithms are cut into equal bins; of each the `each` with the least predicted
    damage are kept, ties to the cheaper one, the mildest of every kind before the second of any.
    They come in an order that covers all costs early, so that a search that runs out of time has
    seen something of each.

    Parameters
    ----------
    cost, damage
        Predicted, above 0 and at least 0, for each combination [combinations].
    most
        How many are kept at most.
    kinds
        What predictions are less sure to compare than within, [combinations]; one kind without it.

    Examples
    --------
    >>> thinned(np.array([1.0, 1.1, 8.0]), np.array([0.5, 0.4, 0.0]), most=2, each=1)
    [1, 2]
    """
    bins = max(most // each, 1)
    logs = np.log(cost)
    span = float(logs.max() - logs.min()) or 1.0
    number = np.minimum(((logs - logs.min()) / span * bins).astype(np.int64), bins - 1)
    of_kind = np.zeros(len(cost), dtype=np.int64) if kinds is None else kinds
    by_bin: dict[int, dict[int, list[int]]] = {}
    for place in np.lexsort((cost, damage)).tolist():
        by_bin.setdefault(int(number[place]), {}).setdefault(int(of_kind[place]), []).append(place)
    ranked = {at: _in_turn(list(found.values())) for at, found in by_bin.items()}
    order = _spread(sorted(ranked))
    return [ranked[at][rank] for rank in range(each) for at in order if rank < len(ranked[at])][
        :most
    ]


def _in_turn(lists: Sequence[Sequence[int]]) -> list[int]:
    """Return the firsts of all lists, then their seconds, and so on.

    >>> _in_turn([[1, 2, 3], [4]])
    [1, 4, 2, 3]
    """
    turns = itertools.zip_longest(*lists)
    return [place for turn in turns for place in turn if place is not None]


def _spread(values: Sequence[int]) -> list[int]:
    """Order values so that every start of the list covers their range.

    >>> _spread([1, 2, 3, 4, 5])
    [1, 5, 3, 2, 4]
    """
    if len(values) < 3:
        return list(values)
    order, spans = [values[0], values[-1]], [(0, len(values) - 1)]
    while spans:
        low, high = spans.pop(0)
        middle = (low + high) // 2
        if middle > low:
            order.append(values[middle])
            spans += [(low, middle), (middle, high)]
    return order


def amounts(coupled: Sequence[groups.CoupledGroup], widths: Widths) -> dict[str, float]:
    """Return the shares of a recipe that leave so many units of each group.

    >>> amounts([groups.CoupledGroup("fc", 64, ())], {"fc": 16})
    {'fc': 0.75}
    """
    return {
        group.name: 1.0 - widths[group.name] / group.units
        for group in coupled
        if group.name in widths
    }
