"""Rank by the sum of absolute weights, after training with that sum in the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from retrain import train
from retrain.pruning import groups
from retrain.pruning.criteria import base, magnitude


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a unit by the sum of abs(w) over all weights it owns, over the group's mean sum.

    Biases are left out, as in `magnitude`.

    References
    ----------
    Li et al.: Pruning Filters for Efficient ConvNets, 2017 (the norm); Tibshirani: Regression
    Shrinkage and Selection via the Lasso, 1996 (the penalty).
    """
    sizes = {
        name: parameter.detach().abs()
        for name, parameter in evidence.parameters.items()
        if not base.is_bias(name)
    }
    return [base.over_mean(groups.per_unit(group, sizes)) for group in coupled]


def penalty(
    coupled: Sequence[groups.CoupledGroup], model: nn.Module, strength: float
) -> train.Penalty:
    """Add strength times the sum of abs(w) over all matrices and filters to the loss.

    Norms and biases are left alone, as by weight decay, and the groups do not matter: the same
    training serves single weights.
    """
    del coupled, model

    def shrink(module: nn.Module) -> torch.Tensor:
        sums = [
            parameter.abs().sum()
            for parameter in module.parameters()
            if parameter.ndim > 1 and parameter.requires_grad
        ]
        return strength * torch.stack(sums).sum() if sums else torch.zeros(())

    return shrink


CRITERION = base.Criterion(score=score, weigh=magnitude.weigh, penalty=penalty)
