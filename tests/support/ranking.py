"""What criteria look at, planted: linear layers with given weights, and given streams."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from retrain.pruning import groups
from retrain.pruning.criteria import base

TWO = (
    groups.CoupledGroup(
        "a",
        3,
        (groups.Axis("a.weight", 0, (0, 1, 2)), groups.Axis("b.weight", 1, (0, 1, 2))),
    ),
    groups.CoupledGroup("b", 2, (groups.Axis("b.weight", 0, (0, 1)),)),
)
"""The outputs of a layer `a` that `b` reads, and those of `b`."""
A = ((1.0, 0.0), (3.0, 4.0), (0.5, 0.5))
B = ((0.0, 1.0, 2.0), (1.0, 0.0, 1.0))


def linears(**weights: Sequence[Sequence[float]]) -> nn.Module:
    """Return linear layers by name, with these weights [outputs, inputs] and biases of zero."""
    layers = {}
    for name, rows in weights.items():
        layers[name] = nn.Linear(len(rows[0]), len(rows))
        layers[name].weight.data = torch.tensor(rows)
        layers[name].bias.data.zero_()
    return nn.ModuleDict(layers)


def evidence(
    model: nn.Module,
    gradients: Sequence[base.Values] = (),
    activations: Sequence[base.Values] = (),
    seed: int = 0,
) -> base.Evidence:
    """Return evidence whose streams give these minibatches; any model's loss is 0."""
    return base.Evidence(
        model=model,
        gradients=lambda: iter(gradients),
        activations=lambda names: (
            {name: batch[name] for name in names if name in batch} for batch in activations
        ),
        loss_of=lambda _: 0.0,
        seed=seed,
    )
