"""How much there is to understand of a model: sizes, layers in use, and directions in use.

References
----------
Roy, Vetterli: The Effective Rank: A Measure of Effective Dimensionality, EUSIPCO 2007.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from coppice import project
from coppice.labels import Floats
from retrain import network
from retrain.pruning import layers, schedule


class Complexity(NamedTuple):
    """Plain counts, of one model."""

    parameters: int
    macs: int
    """Multiply-accumulates for one row."""
    weighted_layers: int
    """Linear and convolutional layers that an answer goes through."""
    width: int
    """Numbers that the last of them reads; 0 where there is none."""
    effective_rank: float
    """Directions that these numbers really use."""


def measure(model: nn.Module, split: project.Split) -> Complexity:
    """Count, on the rows of a split."""
    cost = schedule.cost(model, split)
    count, embedding = _followed(model, split)
    return Complexity(
        parameters=cost.parameters,
        macs=cost.macs,
        weighted_layers=count,
        width=embedding.shape[1],
        effective_rank=effective_rank(embedding),
    )


def _followed(model: nn.Module, split: project.Split) -> tuple[int, Floats]:
    """Return how many weighted layers ran, and what the last of them read [rows, width]."""
    ran: list[tuple[nn.Module, torch.Tensor]] = []

    def note(layer: nn.Module, taken: tuple[torch.Tensor, ...]) -> None:
        if taken:
            ran.append((layer, taken[0]))

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, (nn.Linear, *layers.CONVOLUTIONS, *layers.TRANSPOSED)):
                hooks.callback(layer.register_forward_pre_hook(note).remove)
        network.call(model, network.to_tensors(split.inputs))
    if not ran or len(ran[-1][1]) != split.rows:
        return len({id(layer) for layer, _ in ran}), np.zeros((split.rows, 0))
    return len({id(layer) for layer, _ in ran}), ran[-1][1].flatten(1).double().numpy()


def effective_rank(rows: Floats) -> float:
    """Return in how many directions rows really spread: the exponential of the spectrum's entropy.

    Two directions of equal length count as two, one that is far shorter hardly at all.

    >>> effective_rank(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).__round__(6)
    2.0
    """
    if rows.shape[1] == 0:
        return 0.0
    lengths = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    shares = lengths[lengths > 0] / max(float(lengths.sum()), np.finfo(float).tiny)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
