"""How many units of each group stay: the amount of a step, spread over the groups.

Pure: nothing here looks at a model. Counts are always in steps of the recipe's alignment, and
rounded to the nearest, so that no group is left whole or emptied by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from retrain.pruning import groups, recipe


def kept(group: groups.CoupledGroup, units: int, share: float, align: int) -> int:
    """Return how many of `units` units stay, at most as many as the group still has."""
    count = groups.kept_count(
        units, share, align=align, blocks=group.blocks, width=group.width, runs=group.runs
    )
    return min(count, group.units)


def everywhere(
    coupled: Sequence[groups.CoupledGroup],
    step: recipe.Step,
    due: float,
    before: Mapping[str, int],
) -> list[int]:
    """Let every group lose its own amount of the units it had before the first cut.

    Parameters
    ----------
    due
        Share of the amounts that is due by now.
    before
        Units of the groups before the first cut, by name.

    Examples
    --------
    >>> group = groups.CoupledGroup("fc", 32, ())
    >>> everywhere([group], recipe.Step(amount=0.5), 0.5, {"fc": 64})
    [32]
    """
    return [
        kept(group, before.get(group.name, group.units), step.share(group.name) * due, step.align)
        for group in coupled
    ]


def across(
    coupled: Sequence[groups.CoupledGroup],
    scores: Sequence[torch.Tensor],
    step: recipe.Step,
    due: float,
    before: Mapping[str, int],
) -> list[int]:
    """Let the units that score lowest of all groups go; each group keeps at least one step.

    Groups that the step names have their own amounts.

    Examples
    --------
    >>> pair = [groups.CoupledGroup(name, 2, ()) for name in ("weak", "strong")]
    >>> weak, strong = torch.tensor([0.1, 0.2]), torch.tensor([3.0, 4.0])
    >>> across(pair, [weak, strong], recipe.Step(amount=0.25, align=1), 1.0, {})
    [1, 2]
    """
    counts = everywhere(coupled, step, due, before)
    free = [place for place, group in enumerate(coupled) if group.name not in step.amounts]
    if not free:
        return counts
    # A channel counts, not a unit: units of a grouped convolution are several channels wide.
    ranked = torch.cat([scores[place].double() for place in free])
    widths = torch.cat([torch.full_like(scores[p].double(), coupled[p].width) for p in free])
    start = sum(before.get(coupled[p].name, coupled[p].units) * coupled[p].width for p in free)
    removed = float(widths.sum()) - start * (1.0 - step.amount * due)
    order = ranked.argsort(stable=True)
    gone = order[widths[order].cumsum(0) <= removed + 1e-9]
    lost = torch.zeros(len(ranked), dtype=torch.bool)
    lost[gone] = True
    for place, part in zip(free, torch.split(lost, [coupled[p].units for p in free]), strict=True):
        group = coupled[place]
        counts[place] = kept(group, group.units, float(part.double().mean()), step.align)
    return counts


def allotted(
    coupled: Sequence[groups.CoupledGroup],
    shares: Sequence[float],
    step: recipe.Step,
    due: float,
    before: Mapping[str, int],
) -> list[int]:
    """Let every group lose the share that the criterion allots to it, of what it has now.

    Groups that the step names have their own amounts.
    """
    counts = everywhere(coupled, step, due, before)
    for place, (group, share) in enumerate(zip(coupled, shares, strict=True)):
        if group.name not in step.amounts:
            counts[place] = kept(group, group.units, share, step.align)
    return counts


def amount_left(
    coupled: Sequence[groups.CoupledGroup], step: recipe.Step, due: float, before: Mapping[str, int]
) -> float:
    """Return the share of what the groups have now that is still to go of a due amount.

    >>> amount_left([groups.CoupledGroup("fc", 80, ())], recipe.Step(amount=0.4), 1.0, {"fc": 100})
    0.25
    """
    start = sum(before.get(group.name, group.units) * group.width for group in coupled)
    now = sum(group.units * group.width for group in coupled)
    return max(0.0, round(1.0 - start * (1.0 - step.amount * due) / now, 12)) if now else 0.0
