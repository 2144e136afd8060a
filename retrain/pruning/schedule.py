"""Prune by a recipe: train sparse where the criterion asks for it, then cut, level after level.

Called by the recovery's course. Takes a trained model, the training split and a recipe; cuts the
model in place and gives the one record of all cuts. After every cut the BatchNorm statistics are
re-estimated, and between two cuts the caller's training runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import attention
from torch.utils import flop_counter

from coppice import errors, labels, project
from retrain import network, train
from retrain.pruning import criteria, jobs, recipe, surgery, units

Level: TypeAlias = Callable[[nn.Module, jobs.Job], surgery.Surgery]
"""Cuts a model in place and returns the record."""
LEVELS: Mapping[str, Level] = {"neuron": units.cut}
"""By the names that a recipe uses."""


class Tune(Protocol):
    """Trains a model in place between two cuts."""

    def __call__(
        self,
        model: nn.Module,
        epochs: int,
        *,
        penalty: train.Penalty | None = None,
        after_step: train.AfterStep | None = None,
    ) -> None:
        """Train for so many passes."""
        ...


def untrained(model: nn.Module, epochs: int, **named: Any) -> None:
    """Train nothing: for a look at the structure alone."""
    del model, epochs, named


class Cost(NamedTuple):
    """What a model costs: multiply-accumulates for one row, and trained numbers."""

    macs: int
    parameters: int


def prune(
    model: nn.Module,
    split: project.Split,
    plan: recipe.Recipe,
    *,
    task: labels.Task,
    seed: int,
    tune: Tune = untrained,
) -> surgery.Surgery:
    """Cut a model in place by a recipe and re-estimate its BatchNorm statistics.

    Parameters
    ----------
    tune
        Trains between two cuts, and sparse before the first. What follows the last cut is the
        caller's.

    Returns
    -------
    Surgery
        The record; replayed on a fresh model it gives the same structure.

    Raises
    ------
    PruningError
        The network cannot be cut, or nothing of it can be removed at this amount and alignment.
    ProjectError
        The model does not fit the data.
    """
    network.check(model, split, task)
    model.eval()
    record = surgery.Surgery()
    for step in plan.steps:
        _train_sparse(model, split, step, plan, tune)
        # A step's amounts are shares of what the steps before it have left.
        removed = surgery.Surgery()
        for number, due in enumerate(plan.dues):
            if number > 0:
                tune(model, plan.round_epochs)
            before = {group.name: group.before for group in removed.groups}
            job = jobs.Job(split=split, step=step, due=due, before=before, task=task, seed=seed)
            removed = surgery.compose(removed, LEVELS[step.level](model, job))
            train.reestimate_batch_norm(model, split, plan.batch_norm_rows)
        if removed.changes_nothing and not step.removes_nothing:
            raise errors.PruningError(_nothing(removed, step))
        record = surgery.compose(record, removed)
    return record


def _nothing(record: surgery.Surgery, step: recipe.Step) -> str:
    why = [f"{whole.name!r}: {whole.reason}" for whole in record.whole]
    why += [
        f"{group.name!r}: {group.before} channels stay whole at amount {step.share(group.name)} in "
        f"steps of {step.align}"
        for group in record.groups
    ]
    return "nothing of this network can be removed; " + "; ".join(why or ["it has no inner layers"])


def _train_sparse(
    model: nn.Module,
    split: project.Split,
    step: recipe.Step,
    plan: recipe.Recipe,
    tune: Tune,
) -> None:
    build = criteria.load(step.criterion).penalty
    if build is not None and plan.sparse_epochs > 0:
        coupled = units.couple(model, split).groups
        penalty = build(coupled, model, plan.sparse_strength)
        tune(model, plan.sparse_epochs, penalty=penalty)


def cost(model: nn.Module, split: project.Split) -> Cost:
    """Count a model's multiply-accumulates for one row, and its parameters.

    Matrix products, convolutions and attention count; what is done element by element does not.
    """
    tensors = network.to_tensors(split.take(np.arange(1)).inputs)
    was_training = model.training
    model.eval()
    counter = flop_counter.FlopCounterMode(display=False)
    # The counter knows products, not fused kernels: gradients keep the encoder layer from one, and
    # the plain form of attention from another.
    plain = attention.sdpa_kernel(attention.SDPBackend.MATH)
    with counter, plain, torch.enable_grad():
        network.call(model, tensors)
    model.train(was_training)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(int(counter.get_total_flops()) // 2, parameters)
