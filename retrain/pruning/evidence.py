"""Gather what criteria look at: gradients, activations and losses on a few minibatches."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn.utils import rnn
from torch.utils.hooks import RemovableHandle

from coppice import labels, project
from retrain import network, train
from retrain.pruning.criteria import base

SCORING_BATCHES = 16
"""Minibatches whose gradients a criterion sees."""
SCORING_ROWS = 64
"""Rows of each of them."""


def gather(
    model: nn.Module, split: project.Split, *, task: labels.Task, seed: int
) -> base.Evidence:
    """Return the evidence of a model on minibatches drawn from a split; nothing is computed yet."""
    return base.Evidence(
        model=model,
        gradients=lambda: gradients(model, split, task=task, seed=seed),
        activations=lambda names: activations(model, names, split, seed=seed),
        outputs=lambda names: outputs(model, names, split, seed=seed),
        loss_of=lambda other: mean_loss(other, split, task=task, seed=seed),
        seed=seed,
    )


def _batches(split: project.Split, seed: int) -> Iterator[project.Split]:
    order = np.random.default_rng(seed % 2**32).permutation(split.rows)
    count = min(SCORING_BATCHES, math.ceil(split.rows / SCORING_ROWS))
    for start in range(count):
        yield split.take(order[start * SCORING_ROWS : (start + 1) * SCORING_ROWS])


def _loss(model: nn.Module, rows: project.Split, task: labels.Task, scale: float) -> torch.Tensor:
    answers = network.shaped(network.call(model, network.to_tensors(rows.inputs)), task)
    return train.loss(answers, train.targets_of(rows, task), task, scale)


def gradients(
    model: nn.Module, split: project.Split, *, task: labels.Task, seed: int
) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield the gradients of the loss on minibatches drawn from a split, in evaluation mode.

    Frozen parameters get theirs too (they can be cut like any other) and are frozen again after.
    """
    scale = train.target_scale(split, task)
    parameters = {n: p for n, p in model.named_parameters() if p.is_floating_point()}
    frozen = [parameter for parameter in parameters.values() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        for rows in _batches(split, seed):
            value = _loss(model, rows, task, scale)
            found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            pairs = zip(parameters, found, strict=True)
            yield {name: gradient for name, gradient in pairs if gradient is not None}
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def activations(
    model: nn.Module, names: Sequence[str], split: project.Split, *, seed: int
) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield what named modules read on minibatches drawn from a split, in evaluation mode.

    That is their first argument; a packed sequence comes padded. A module that reads several sizes,
    as one after each level of a pyramid does, is heard in the size that it reads first.
    """
    for rows in _batches(split, seed):
        yield _heard(model, names, rows, _before)


def outputs(
    model: nn.Module, names: Sequence[str], split: project.Split, *, seed: int
) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield what named modules give on the same minibatches; each gives one tensor."""
    for rows in _batches(split, seed):
        yield _heard(model, names, rows, _after)


Listen: TypeAlias = Callable[[nn.Module, list[torch.Tensor]], RemovableHandle]


def _heard(
    model: nn.Module, names: Sequence[str], rows: project.Split, listen: Listen
) -> dict[str, torch.Tensor]:
    heard: dict[str, list[torch.Tensor]] = collections.defaultdict(list)
    hooks = [listen(model.get_submodule(name), heard[name]) for name in names]
    with network.hooked(hooks), torch.no_grad():
        network.call(model, network.to_tensors(rows.inputs))
    return {name: _joined(calls) for name, calls in heard.items() if calls}


def _joined(calls: Sequence[torch.Tensor]) -> torch.Tensor:
    """Put the rows of several calls one after the other, of other sizes those like the first."""
    return torch.cat([call for call in calls if call.shape[1:] == calls[0].shape[1:]])


# Copies, because what comes after may write into a tensor.
def _before(module: nn.Module, calls: list[torch.Tensor]) -> RemovableHandle:
    def listen(called: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        read = [*given, *named.values()][0]
        if isinstance(read, rnn.PackedSequence):
            read, _ = rnn.pad_packed_sequence(read, getattr(called, "batch_first", False))
        calls.append(read.clone())

    return module.register_forward_pre_hook(listen, with_kwargs=True)


def _after(module: nn.Module, calls: list[torch.Tensor]) -> RemovableHandle:
    return module.register_forward_hook(lambda _m, _r, given: calls.append(given.clone()))


def mean_loss(model: nn.Module, split: project.Split, *, task: labels.Task, seed: int) -> float:
    """Return the mean loss on the minibatches that criteria see."""
    scale = train.target_scale(split, task)
    with torch.no_grad():
        values = [_loss(model, rows, task, scale) for rows in _batches(split, seed)]
    return float(torch.stack(values).mean())
