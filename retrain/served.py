"""The model as it is served, for whatever writes it down: probabilities first, then the embedding.

Called by the exports. Nothing here writes a file.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from coppice import labels, project, runtime
from retrain import network

WIDEST_EMBEDDING = 4096
TRACE_ROWS = 3
"""Rows to trace with. Two or more: torch.export takes a batch of one for a constant."""


def rows(split: project.Split, count: int) -> project.Split:
    """Return exactly `count` rows, from the start again where the split is shorter."""
    return split.take(np.arange(count) % split.rows)


class Served(nn.Module):
    """The model with the public answer, and with what its last linear layer reads.

    Parameters
    ----------
    model
        The user's; it is set to evaluation mode.
    split
        Real rows, to see which linear layer runs last.

    Attributes
    ----------
    names
        Of the inputs, in the order in which `forward` takes them.
    outputs
        Names of what `forward` gives: `scores` and, where there is one, `embedding`.
    """

    def __init__(self, model: nn.Module, split: project.Split, task: labels.Task) -> None:
        super().__init__()
        self.model = model.eval()
        self.names = tuple(split.inputs)
        self.task: labels.Task = task
        self.last = _last_linear(model, network.to_tensors(rows(split, TRACE_ROWS).inputs))
        self.outputs = (runtime.SCORES, *(runtime.EMBEDDING for _ in self.last))
        self.eval()

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answer a batch: scores, and what the last linear layer read, a row each."""
        read: list[torch.Tensor] = []
        hooks = [
            layer.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
            for layer in self.last
        ]
        with network.hooked(hooks):
            raw = network.call(self.model, dict(zip(self.names, tensors, strict=True)))
        answers = network.shaped(raw, self.task).float()
        scores = answers if self.task == "regression" else answers.softmax(dim=1)
        return (scores, *(tensor.flatten(1).float() for tensor in read[-1:]))

    def trace_inputs(self, split: project.Split) -> tuple[torch.Tensor, ...]:
        """Return real rows to trace with."""
        return tuple(network.to_tensors(rows(split, TRACE_ROWS).inputs).values())

    def dynamic_shapes(self) -> tuple[tuple[dict[int, torch.export.Dim], ...]]:
        """Say that only the number of rows is free."""
        batch = torch.export.Dim("batch")
        return (tuple({0: batch} for _ in self.names),)


def _last_linear(model: nn.Module, tensors: network.Tensors) -> list[nn.Linear]:
    """Return the linear layer that runs last, where its input makes an embedding; else nothing."""
    ran: list[tuple[nn.Linear, torch.Size]] = []

    def note(layer: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        ran.append((layer, arguments[0].shape))

    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(note) for layer in linears]
    with network.hooked(hooks), torch.no_grad():
        network.call(model, tensors)
    rows = len(next(iter(tensors.values())))
    fits = ran and ran[-1][1][0] == rows and ran[-1][1][1:].numel() <= WIDEST_EMBEDDING
    return [ran[-1][0]] if fits and len(ran[-1][1]) > 1 else []
