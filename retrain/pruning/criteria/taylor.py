"""Rank by the first-order change of the loss, squared per minibatch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from retrain.pruning import groups
from retrain.pruning.criteria import base


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a unit by the first-order change of the loss if it went, squared per minibatch.

    The change is the sum of weight times gradient over all that the unit owns. It is squared before
    the minibatches are averaged: averaged first, changes of opposite sign would cancel and an
    important unit could look idle.

    References
    ----------
    Molchanov et al.: Importance Estimation for Neural Network Pruning, 2019.
    """
    parameters = evidence.parameters
    totals = [torch.zeros(group.units, dtype=torch.float64) for group in coupled]
    batches = 0
    for gradients in evidence.gradients():
        batches += 1
        changes = {
            name: parameters[name].detach() * gradient for name, gradient in gradients.items()
        }
        for total, group in zip(totals, coupled, strict=True):
            total.add_(groups.per_unit(group, changes).square())
    return [total / max(batches, 1) for total in totals]


def weigh(names: Sequence[str], evidence: base.Evidence) -> dict[str, torch.Tensor]:
    """Score a weight by the square of weight times gradient, averaged over the minibatches."""
    parameters = evidence.parameters
    totals = {name: torch.zeros_like(parameters[name], requires_grad=False) for name in names}
    batches = 0
    for gradients in evidence.gradients():
        batches += 1
        for name in set(names) & set(gradients):
            totals[name] += (parameters[name].detach() * gradients[name]).square()
    return {name: total / max(batches, 1) for name, total in totals.items()}


CRITERION = base.Criterion(score=score, weigh=weigh)
