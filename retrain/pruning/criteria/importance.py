"""Rank by the largest share that a unit has in any sum of the layers that read it.

Provable filter pruning: `s_j = max (w_ij a_j) / (sum_k w_ik a_k)` over rows, patches, the filters i
of the next layer, the places in their kernels, and both signs of the weights apart. Filters drawn
with probability `p_j = s_j / sum s` keep the next layer's sums within a factor 1 +- epsilon, if
enough are drawn; one epsilon for all layers then says how many to keep of each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from coppice import errors
from retrain.pruning import groups, readers
from retrain.pruning.criteria import base

BATCHES = 2
"""Minibatches that are looked at: 128 rows, about what the bound asks for."""
FAILURE = 1e-16
"""Probability with which the bound may fail."""
BISECTIONS = 60


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a unit by its sensitivity over the group's mean sensitivity: units times p.

    Where several layers read a unit, the mean over them: what is drawn from is then a mixture of
    their distributions. The largest instead would let one layer decide that cannot tell the units
    apart, because somewhere each of them is all that it sees.

    Raises
    ------
    PruningError
        No layer with weights reads a group; the message names it.

    References
    ----------
    Liebenwein et al.: Provable Filter Pruning for Efficient Neural Networks, 2020.
    """
    return [found.relative for found in _sensitivities(coupled, evidence)]


def weigh(names: Sequence[str], evidence: base.Evidence) -> dict[str, torch.Tensor]:
    """Score a weight by its own sensitivity.

    Raises
    ------
    PruningError
        A tensor is no weight of a layer that sums up what it reads; the message names it.

    References
    ----------
    Baykal et al.: SiPPing Neural Networks: Sensitivity-informed Provable Pruning, 2019.
    """
    tensors = {name: (name.rpartition(".")[0], name.rpartition(".")[2]) for name in names}
    readable = {one for one in tensors.values() if _readable(evidence.model, one)}
    shares = _shares(sorted(readable), evidence)
    _refuse([name for name, tensor in tensors.items() if tensor not in shares])
    return {name: shares[tensor].largest for name, tensor in tensors.items()}


def _readable(model: nn.Module, tensor: tuple[str, str]) -> bool:
    return readers.reads(model.get_submodule(tensor[0]), tensor[1])


def allocate(
    coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence, amount: float
) -> list[float]:
    """Return the shares that go if all layers' sums may be off by the same epsilon.

    A layer needs `m = 3 (6 + 2 epsilon) S 6 log(8 (P + 1) k / failure) / epsilon^2` draws, `S` the
    sum of its sensitivities, `P` its patches and `k` the places in its kernel; `m` draws give
    `sum_j 1 - (1 - p_j)^m` different units. Epsilon is bisected until `amount` of all goes.

    References
    ----------
    Liebenwein et al.: Provable Filter Pruning for Efficient Neural Networks, 2020.
    """
    found = _sensitivities(coupled, evidence)
    channels = sum(group.units * group.width for group in coupled)

    def left(log_epsilon: float) -> list[float]:
        return [one.kept(math.exp(log_epsilon)) for one in found]

    low, high = math.log(1e-9), math.log(1e9)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        kept = sum(g.width * units for g, units in zip(coupled, left(middle), strict=True))
        low, high = (middle, high) if kept > (1.0 - amount) * channels else (low, middle)
    return [
        max(0.0, 1.0 - units / group.units) for group, units in zip(coupled, left(low), strict=True)
    ]


class _Sensitivity(NamedTuple):
    """What the readers of a group say about its units.

    `relative` has a mean of 1 over what each reader reads; `draws` is how many draws are needed
    times epsilon^2 / (6 + 2 epsilon).
    """

    relative: torch.Tensor
    draws: float

    def kept(self, epsilon: float) -> float:
        """Return how many different units the draws give, in expectation; at least 1."""
        draws = max(self.draws * (6.0 + 2.0 * epsilon) / epsilon**2, 1.0)
        total = float(self.relative.sum())
        if total == 0.0:
            return 1.0
        each = (self.relative / total).clamp_max(1.0 - 1e-12)
        return max(float(-torch.expm1(draws * torch.log1p(-each)).sum()), 1.0)


def _sensitivities(
    coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence
) -> list[_Sensitivity]:
    read = [readers.of(evidence.model, group) for group in coupled]
    tensors = sorted({(one.module, one.tensor) for found in read for one in found})
    shares = _shares(tensors, evidence)
    seen = [[one for one in found if (one.module, one.tensor) in shares] for found in read]
    _refuse([group.name for group, found in zip(coupled, seen, strict=True) if not found])
    return [_of_group(group, found, shares) for group, found in zip(coupled, seen, strict=True)]


def _refuse(names: Sequence[str]) -> None:
    if names:
        message = (
            "importance looks at what linear, convolutional and recurrent layers multiply, and "
            f"cannot for {', '.join(map(repr, names))}; use criterion taylor or magnitude"
        )
        raise errors.PruningError(message)


def _shares(
    tensors: Sequence[tuple[str, str]], evidence: base.Evidence
) -> dict[tuple[str, str], readers.Shares]:
    best: dict[tuple[str, str], readers.Shares] = {}
    modules = sorted({module for module, _ in tensors})
    for batch in itertools.islice(evidence.activations(modules), BATCHES):
        for module, tensor in tensors:
            layer = evidence.model.get_submodule(module)
            found = readers.shares(layer, tensor, batch[module]) if module in batch else None
            if found is not None:
                before = best.get((module, tensor), found)
                largest = torch.maximum(before.largest, found.largest)
                best[module, tensor] = readers.Shares(largest, found.patches)
    return best


def _of_group(
    group: groups.CoupledGroup,
    read: Sequence[readers.Reader],
    shares: dict[tuple[str, str], readers.Shares],
) -> _Sensitivity:
    sums, relative, counts = torch.zeros(3, group.units, dtype=torch.float64)
    log = 0.0
    for one in read:
        found = shares[one.module, one.tensor]
        units, each = _per_unit(group, one, found.largest)
        sums[units] += each
        relative[units] += base.over_mean(each)
        counts[units] += 1.0
        places = found.largest[0, 0].numel()
        log = max(log, math.log(8.0 * (found.patches + 1) * places / FAILURE))
    # What no layer reads directly, beside units that one does, cannot be told from the mean.
    mean = torch.where(counts > 0, relative / counts.clamp_min(1.0), 1.0)
    total = float((sums / counts.clamp_min(1.0)).sum())
    return _Sensitivity(mean, 3.0 * total * 6.0 * log)


def _per_unit(
    group: groups.CoupledGroup, reader: readers.Reader, largest: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the units that a layer reads, and the largest share of each."""
    columns = largest.movedim(1, 0).flatten(start_dim=1).amax(dim=1).double()
    owners = torch.tensor(reader.owners)
    best = torch.full((group.units + 1,), -1.0, dtype=torch.float64)
    # Index -1 is the spare last place, where what nobody owns is dropped.
    best = best.scatter_reduce(0, owners % (group.units + 1), columns, "amax")[: group.units]
    units = (best >= 0).nonzero().squeeze(1)
    return units, best[units]


CRITERION = base.Criterion(levels=("neuron",), score=score, weigh=weigh, allocate=allocate)
