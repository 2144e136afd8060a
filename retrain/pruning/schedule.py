"""Prune by a recipe: train sparse where the criterion asks for it, then cut, level after level.

Called by the recovery's course. Takes a trained model, the training split and a recipe; cuts the
model in place and gives the one record of all cuts. After every cut the BatchNorm statistics are
re-estimated, and between two cuts the caller's training runs.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import attention
from torch.utils import flop_counter

from coppice import errors, labels, project
from retrain import network, train
from retrain.pruning import blocks, connections, criteria, groups, jobs, recipe, surgery, units


class Level(NamedTuple):
    """What can be removed of a network.

    Attributes
    ----------
    cut
        Removes in place what a job asks for, and returns the record.
    couple
        What a penalty shrinks before that, as groups.
    """

    cut: Callable[[nn.Module, jobs.Job], surgery.Surgery]
    couple: Callable[[nn.Module, project.Split], Sequence[groups.CoupledGroup]]


LEVELS: Mapping[str, Level] = {
    "neuron": Level(units.cut, lambda model, split: units.couple(model, split).groups),
    "layer": Level(blocks.cut, blocks.couple),
    "connection": Level(connections.cut, connections.couple),
}
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
    for step in plan.steps:
        criteria.check(step.criterion, step.level)
    model.eval()
    record = surgery.Surgery()
    if any(step.level == "neuron" for step in plan.steps):
        record = units.prepare(model, split)
    for place, step in enumerate(plan.steps):
        kept = functools.partial(_keeping, tune, model, plan.steps[: place + 1])
        _train_sparse(model, split, step, plan, kept())
        # A step's amounts are shares of what the steps before it have left.
        removed, alive = surgery.Surgery(), connections.alive(model)
        for number, due in enumerate(plan.dues):
            if number > 0:
                kept()(model, plan.round_epochs)
            before = alive | {group.name: group.before for group in removed.groups}
            left = {group.name: group.after for group in removed.groups}
            job = jobs.Job(
                split=split, step=step, due=due, before=before, left=left, task=task, seed=seed
            )
            removed = surgery.compose(removed, LEVELS[step.level].cut(model, job))
            train.reestimate_batch_norm(model, split, plan.batch_norm_rows)
        if removed.changes_nothing and not step.removes_nothing:
            raise errors.PruningError(_nothing(removed, step))
        record = connections.counted(model, surgery.compose(record, removed))
    return record


def _keeping(tune: Tune, model: nn.Module, steps: Sequence[recipe.Step]) -> Tune:
    """Return a training that keeps the zeros which steps have made."""
    keep = connections.keeper(model, steps)
    return tune if keep is None else functools.partial(tune, after_step=keep)


_KINDS = {"neuron": "channel", "layer": "block", "connection": "weight"}


def _nothing(record: surgery.Surgery, step: recipe.Step) -> str:
    why = [f"{whole.name!r}: {whole.reason}" for whole in record.whole]
    why += [
        f"{group.name!r}: {_all(group.before, step)} at amount {step.share(group.name)}"
        for group in record.groups
    ]
    told = "nothing of this network can be removed; " + "; ".join(why or ["it has no inner layers"])
    finer = " or take a finer align" if step.level == "neuron" else ""
    return f"{told}; raise the amount{finer}" if record.groups else told


def _all(count: int, step: recipe.Step) -> str:
    kind = _KINDS[step.level]
    whole = f"the only {kind} stays" if count == 1 else f"all {count} {kind}s stay"
    return f"{whole} whole in steps of {step.align}" if step.level == "neuron" else f"{whole} whole"


def _train_sparse(
    model: nn.Module,
    split: project.Split,
    step: recipe.Step,
    plan: recipe.Recipe,
    tune: Tune,
) -> None:
    build = criteria.load(step.criterion).penalty
    if build is not None and plan.sparse_epochs > 0:
        coupled = LEVELS[step.level].couple(model, split)
        penalty = build(coupled, model, plan.sparse_strength)
        tune(model, plan.sparse_epochs, penalty=penalty)


def cost(model: nn.Module, split: project.Split) -> Cost:
    """Count a model's multiply-accumulates for one row, and its parameters.

    Matrix products, convolutions and attention count; what is done element by element does not.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(int(_counted(model, split).get_total_flops()) // 2, parameters)


def macs_by_layer(model: nn.Module, split: project.Split) -> dict[str, int]:
    """Count the multiply-accumulates of one row by the module in which they are made.

    What a module's own children make is theirs and not counted with it.
    """
    root = type(model).__name__
    found = {
        name.removeprefix(root).removeprefix("."): sum(counts.values()) // 2
        for name, counts in _counted(model, split).get_flop_counts().items()
        if name == root or name.startswith(f"{root}.")
    }
    own = dict(found)
    for name, macs in found.items():
        parent = name.rpartition(".")[0]
        # A module inside a plain container, which is never called, belongs to the next one above.
        while parent and parent not in found:
            parent = parent.rpartition(".")[0]
        if name and parent in own:
            own[parent] -= macs
    return own


def _counted(model: nn.Module, split: project.Split) -> flop_counter.FlopCounterMode:
    tensors = network.to_tensors(split.take(np.arange(1)).inputs)
    was_training = model.training
    model.eval()
    counter = flop_counter.FlopCounterMode(display=False)
    # The counter knows products, not fused kernels.
    plain = attention.sdpa_kernel(attention.SDPBackend.MATH)
    with counter, plain, _without_onednn(), torch.enable_grad():
        network.call(model, tensors)
    model.train(was_training)
    return counter


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    """Keep recurrent layers from a fused kernel inside the block."""
    onednn: Any = torch.backends.mkldnn
    before = onednn.enabled
    onednn.enabled = False
    try:
        yield
    finally:
        onednn.enabled = before
