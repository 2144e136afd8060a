"""Prune once: score on data, choose in each group, try the cut on a copy, cut, re-estimate norms.

Called by the candidate's flow. Takes a trained model, the training split and a recipe; cuts the
model in place and gives the record of the cut. Fine-tuning is the caller's next step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import attention
from torch.utils import flop_counter

from coppice import errors, labels, project
from retrain import network, train
from retrain.pruning import criteria, groups, neurons, recipe, surgery, trial

SCORING_BATCHES = 16
"""Minibatches whose gradients a criterion sees."""
SCORING_ROWS = 64
"""Rows of each of them."""
TRACE_ROWS = 2
"""Rows of the forward passes that only follow channels."""


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
) -> surgery.Surgery:
    """Cut a model in place by a recipe and re-estimate its BatchNorm statistics.

    Every coupled group loses the same share of its units (rounded to the recipe's alignment), the
    ones that score lowest. The cut is first made on a copy: a group whose cut the model's own code
    cannot follow is left whole, and the record says why.

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
    example = network.to_tensors(split.take(np.arange(min(TRACE_ROWS, split.rows))).inputs)
    coupling = neurons.trace(model, example)
    scores = _scores(model, split, coupling.groups, plan, task=task, seed=seed)
    kept = [
        (group, groups.choose(group, score, _keep(group, plan)))
        for group, score in zip(coupling.groups, scores, strict=True)
    ]
    record = trial.workable(model, example, kept)
    record = surgery.with_whole(record, coupling.whole)
    if plan.amount > 0 and not record.cuts:
        raise errors.PruningError(_nothing(record, plan))
    surgery.replay(model, record)
    train.reestimate_batch_norm(model, split, plan.batch_norm_rows)
    return record


def _keep(group: groups.CoupledGroup, plan: recipe.Recipe) -> int:
    return groups.kept_count(
        group.units, plan.amount, align=plan.align, blocks=group.blocks, width=group.width
    )


def _nothing(record: surgery.Surgery, plan: recipe.Recipe) -> str:
    why = [f"{whole.name!r}: {whole.reason}" for whole in record.whole]
    why += [
        f"{group.name!r}: {group.before} channels stay whole at amount {plan.amount} in steps of "
        f"{plan.align}"
        for group in record.groups
    ]
    return "nothing of this network can be removed; " + "; ".join(why or ["it has no inner layers"])


def _scores(
    model: nn.Module,
    split: project.Split,
    coupled: tuple[groups.CoupledGroup, ...],
    plan: recipe.Recipe,
    *,
    task: labels.Task,
    seed: int,
) -> list[torch.Tensor]:
    evidence = criteria.Evidence(
        parameters=dict(model.named_parameters()),
        gradients=lambda: gradients(model, split, task=task, seed=seed),
        seed=seed,
    )
    scores = criteria.CRITERIA[plan.criterion](coupled, evidence)
    for group, score in zip(coupled, scores, strict=True):
        if not torch.isfinite(score).all():
            message = f"{plan.criterion} gives {group.name!r} scores that are not finite"
            raise errors.PruningError(message)
    return scores


def gradients(
    model: nn.Module, split: project.Split, *, task: labels.Task, seed: int
) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield the gradients of the loss on minibatches drawn from a split, in evaluation mode.

    Frozen parameters get theirs too (they can be cut like any other) and are frozen again after.
    """
    order = np.random.default_rng(seed % 2**32).permutation(split.rows)
    batches = min(SCORING_BATCHES, math.ceil(split.rows / SCORING_ROWS))
    scale = train.target_scale(split, task)
    parameters = {n: p for n, p in model.named_parameters() if p.is_floating_point()}
    frozen = [parameter for parameter in parameters.values() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        for start in range(batches):
            rows = split.take(order[start * SCORING_ROWS : (start + 1) * SCORING_ROWS])
            answers = network.shaped(network.call(model, network.to_tensors(rows.inputs)), task)
            value = train.loss(answers, train.targets_of(rows, task), task, scale)
            found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            pairs = zip(parameters, found, strict=True)
            yield {name: gradient for name, gradient in pairs if gradient is not None}
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


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
