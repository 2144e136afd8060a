"""Rank by the norms of coupled weights, after training that pulls whole units towards zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from retrain import train
from retrain.pruning import groups
from retrain.pruning.criteria import base, magnitude

FLOOR = 1e-12
"""Added to squared norms, whose root has no slope at zero."""


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a unit by the Euclidean norm of all weights it owns, over the group's mean norm.

    References
    ----------
    Wen et al.: Learning Structured Sparsity in Deep Neural Networks, 2016; Fang et al.: DepGraph,
    2023 (over coupled layers); Yuan, Lin: Model selection and estimation in regression with grouped
    variables, 2006 (the penalty and its sqrt(size)).
    """
    return magnitude.norms(coupled, evidence.parameters)


def penalty(
    coupled: Sequence[groups.CoupledGroup], model: nn.Module, strength: float
) -> train.Penalty:
    """Add strength times the sum over all units of sqrt(size) * norm to the loss.

    The norm is over all coupled weights of a unit without biases, `size` is their number: a weight
    of its unit's mean size is pulled by the strength, as by `l1`. Squares are summed slice by slice
    into one vector of all units, so that a step costs a few operations per tensor, however many
    units there are.
    """
    owned = _owned(coupled, model)
    ones = {name: torch.ones_like(p, requires_grad=False) for name, p in model.named_parameters()}
    weights = strength * owned.collect(ones).sqrt()

    def shrink(module: nn.Module) -> torch.Tensor:
        squares = {
            name: parameter.square()
            for name, parameter in module.named_parameters()
            if name in owned.paths
        }
        return weights @ (owned.collect(squares) + FLOOR).sqrt()

    return shrink


class _Owned(NamedTuple):
    """What the units of all groups own: dimensions of tensors, with each index's unit among all."""

    units: int
    paths: frozenset[str]
    slices: tuple[tuple[str, int], ...]
    places: torch.Tensor

    def collect(self, values: base.Values) -> torch.Tensor:
        """Sum values over what each unit owns, float32 [units of all groups]."""
        sums = [_along(values[path], dim) for path, dim in self.slices]
        # The spare last place collects what nobody owns.
        whole = torch.zeros(self.units + 1)
        return whole.index_add(0, self.places, torch.cat([torch.zeros(0), *sums]))[: self.units]


def _along(value: torch.Tensor, dim: int) -> torch.Tensor:
    others = [other for other in range(value.ndim) if other != dim]
    return (value.sum(dim=others) if others else value).float()


def _owned(coupled: Sequence[groups.CoupledGroup], model: nn.Module) -> _Owned:
    weights = {name for name, _ in model.named_parameters() if not base.is_bias(name)}
    spare = sum(group.units for group in coupled)
    slices, places = [], []
    start = 0
    for group in coupled:
        for axis in group.axes:
            if axis.dim is not None and axis.path in weights:
                slices.append((axis.path, axis.dim))
                places += [spare if one == groups.NOBODY else one + start for one in axis.owners]
        start += group.units
    paths = frozenset(path for path, _ in slices)
    return _Owned(spare, paths, tuple(slices), torch.tensor(places, dtype=torch.long))


CRITERION = base.Criterion(score=score, penalty=penalty)
