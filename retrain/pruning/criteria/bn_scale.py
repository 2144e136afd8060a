"""Rank by the scales of BatchNorm, after training that pulls them towards zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from coppice import errors
from retrain import network, train
from retrain.pruning import groups
from retrain.pruning.criteria import base

FACTOR = 100.0
"""Times the recipe's strength: a scale sums up the gradients of all weights of its channel."""


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a unit by the mean of abs(gamma) over the BatchNorms that scale it.

    Not told in units of the group's mean: a scale says how much of a channel of unit variance is
    passed on, so scales compare across layers.

    Raises
    ------
    PruningError
        A group has no BatchNorm with a scale; the message names it.

    References
    ----------
    Liu et al.: Learning Efficient Convolutional Networks through Network Slimming, 2017.
    """
    scales = {name: gamma.detach().abs() for name, gamma in _scales(evidence.model).items()}
    _refuse(coupled, scales)
    counts = {name: torch.ones_like(gamma) for name, gamma in scales.items()}
    # A unit that no scale belongs to, beside others that one does, is passed on as it is.
    return [
        _mean(groups.per_unit(group, scales), groups.per_unit(group, counts)) for group in coupled
    ]


def _mean(sums: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return torch.where(counts > 0, sums / counts.clamp_min(1.0), 1.0)


def penalty(
    coupled: Sequence[groups.CoupledGroup], model: nn.Module, strength: float
) -> train.Penalty:
    """Add strength times `FACTOR` times the sum of abs(gamma) over the groups' BatchNorms.

    Raises
    ------
    PruningError
        A group has no BatchNorm with a scale; the message names it.
    """
    scales = _scales(model)
    _refuse(coupled, scales)
    owned = {axis.path for group in coupled for axis in group.axes}
    weight = strength * FACTOR

    def shrink(module: nn.Module) -> torch.Tensor:
        gammas = [gamma for name, gamma in _scales(module).items() if name in owned]
        return weight * torch.cat(gammas).abs().sum() if gammas else torch.zeros(())

    return shrink


def _scales(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, network.BATCH_NORMS) and module.affine
    }


def _refuse(coupled: Sequence[groups.CoupledGroup], scales: base.Values) -> None:
    bare = [
        repr(group.name) for group in coupled if not any(axis.path in scales for axis in group.axes)
    ]
    if bare:
        message = (
            f"bn-scale ranks by the scales of BatchNorm, and there is none on the outputs of "
            f"{', '.join(bare)}; use criterion group-lasso, l1 or magnitude for this network"
        )
        raise errors.PruningError(message)


CRITERION = base.Criterion(levels=("neuron",), score=score, penalty=penalty)
