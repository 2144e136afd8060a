"""What the last linear layer of a network reads: the rows as the network itself sees them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from coppice import project
from retrain import network
from retrain.evaluate import rows

BATCH = 256
WIDEST = 4096
"""A wider input to the last layer is no summary of a row, and too large to work with."""


def embed(model: nn.Module, split: project.Split) -> rows.Matrix | None:
    """Return what the linear layer that runs last reads, [rows, width].

    `None` where no linear layer runs, or where what it reads is not one vector for each row.
    """
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    read: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
        for layer in linears
    ]
    was_training = model.training
    model.eval()
    try:
        with network.hooked(hooks):
            parts = [
                _last(model, split.take(np.arange(at, min(at + BATCH, split.rows))), read)
                for at in range(0, split.rows, BATCH)
            ]
    finally:
        model.train(was_training)
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if found and len(found) == len(parts) else None


def _last(model: nn.Module, split: project.Split, read: list[torch.Tensor]) -> rows.Matrix | None:
    read.clear()
    with torch.no_grad():
        network.call(model, network.to_tensors(split.inputs))
    if not read or read[-1].ndim < 2 or len(read[-1]) != split.rows:
        return None
    flat = read[-1].flatten(1)
    return flat.double().numpy() if flat.shape[1] <= WIDEST else None
