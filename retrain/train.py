"""Train, fine-tune with distillation, and ask a torch model.

Called by the candidate's flow and by the pruning schedule. Takes a `torch.nn.Module`, a split and a
plan; changes the module in place. Every random choice comes from the plan's seed, and torch's own
generator is put back, so the same call gives the same weights wherever it stands in a program.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from coppice import errors, labels, project
from retrain import network

Progress = Callable[[int, float], None]
"""Told after every epoch: its number, from 1, and its mean loss."""
Precision: TypeAlias = Literal["fp32", "bf16"]
"""Of the products in training; weights, sums and statistics are always 32 bits wide."""
Penalty: TypeAlias = Callable[[nn.Module], torch.Tensor]
"""What a model's weights cost beside its errors: a scalar that is added to the loss."""
AfterStep: TypeAlias = Callable[[nn.Module], None]
"""Called after every step of the optimizer, for example to keep pruned weights at zero."""

PREDICT_ROWS = 256
"""Rows per forward pass where nothing is learned; bounds memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitPlan:
    """How to train.

    Attributes
    ----------
    task
        Decides the loss: cross-entropy for classes, for regression Huber's loss of the error in
        units of the targets' standard deviation.
    epochs, batch_size
        Passes over the split, and rows per step (at least 2).
    learning_rate, weight_decay
        Peak of a one-cycle schedule with AdamW; decay applies to matrices and filters only.
    distill_weight, temperature
        Used with a teacher: share of the loss that is distance to the teacher's answers, and the
        softmax temperature at which they are compared.
    seed
        Order of the rows and every dropout mask follow from it.
    precision
        `bf16` trains by automatic mixed precision with the channels last, which is faster on
        processors with such units and slower elsewhere, and at odd widths.
    penalty
        Added to every step's loss.
    after_step
        Called with the model after every step.
    """

    task: labels.Task
    epochs: int
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    distill_weight: float = 0.0
    temperature: float = 4.0
    seed: int = 0
    precision: Precision = "fp32"
    penalty: Penalty | None = None
    after_step: AfterStep | None = None


class History(NamedTuple):
    """Mean training loss per epoch, and mean score on the validation split where one was given."""

    losses: tuple[float, ...]
    validation: tuple[float, ...]


def loss(
    answers: torch.Tensor, targets: torch.Tensor, task: labels.Task, scale: float = 1.0
) -> torch.Tensor:
    """Return the mean loss of shaped answers: cross-entropy, or Huber's of error over scale."""
    if task == "regression":
        return functional.smooth_l1_loss(answers / scale, targets / scale)
    return functional.cross_entropy(answers, targets)


def _distance(
    answers: torch.Tensor, teacher: torch.Tensor, plan: FitPlan, scale: float
) -> torch.Tensor:
    if plan.task == "regression":
        return functional.mse_loss(answers / scale, teacher / scale)
    divergence = functional.kl_div(
        functional.log_softmax(answers / plan.temperature, dim=1),
        functional.log_softmax(teacher / plan.temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    # The gradient of the softened softmax shrinks with the square of the temperature.
    return divergence * plan.temperature**2


class _Material(NamedTuple):
    """All that the steps of one training read."""

    tensors: dict[str, torch.Tensor]
    targets: torch.Tensor
    teacher: torch.Tensor | None
    scale: float


def targets_of(split: project.Split, task: labels.Task) -> torch.Tensor:
    """Return the targets as torch's losses want them: int64 classes or float32 values."""
    dtype = np.float32 if task == "regression" else np.int64
    return torch.from_numpy(split.targets.astype(dtype))


def target_scale(split: project.Split, task: labels.Task) -> float:
    """Return the targets' standard deviation for a regression, else 1; never 0."""
    return float(split.targets.std()) or 1.0 if task == "regression" else 1.0


def fit(
    model: nn.Module,
    split: project.Split,
    plan: FitPlan,
    *,
    validation: project.Split | None = None,
    teacher: nn.Module | torch.Tensor | None = None,
    progress: Progress | None = None,
) -> History:
    """Train a model in place and leave it in evaluation mode.

    The weights of the last epoch stay: the one-cycle schedule has annealed to nothing by then, and
    choosing an epoch by its validation score would flatter that score.

    Parameters
    ----------
    validation
        Scored after every epoch; never learned from.
    teacher
        A model, or its `raw` answers to the split where they are known already. They are pulled at
        with `plan.distill_weight`; for classes by Kullback-Leibler divergence at
        `plan.temperature`, for regression by squared distance.

    Raises
    ------
    ProjectError
        The model does not fit the data, or the loss is no longer a number.

    References
    ----------
    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015 (the distillation).
    Smith, Topin: Super-Convergence, 2018 (the one-cycle schedule).
    Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019 (AdamW).
    """
    network.check(model, split, plan.task)
    if split.rows < 2 or plan.batch_size < 2:
        message = f"training needs at least 2 rows per step; got {split.rows} rows in all"
        raise errors.ProjectError(message)
    material = _Material(
        tensors=network.to_tensors(split.inputs),
        targets=targets_of(split, plan.task),
        teacher=raw(teacher, split, plan.task) if isinstance(teacher, nn.Module) else teacher,
        scale=target_scale(split, plan.task),
    )
    with network.seeded(plan.seed), _layout(model, plan.precision):
        history = _epochs(model, material, plan, validation, progress)
    model.eval()
    return history


def _epochs(
    model: nn.Module,
    material: _Material,
    plan: FitPlan,
    validation: project.Split | None,
    progress: Progress | None,
) -> History:
    optimizer = torch.optim.AdamW(_decayed(model, plan.weight_decay), lr=plan.learning_rate)
    steps = math.ceil(len(material.targets) / plan.batch_size) * plan.epochs
    schedule = _one_cycle(optimizer, plan.learning_rate, max(steps, 1))
    losses, scores = [], []
    for epoch in range(1, plan.epochs + 1):
        model.train()
        order = torch.randperm(len(material.targets))
        # BatchNorm cannot learn from a single row, so a last batch of one is left out.
        batches = [rows for rows in torch.split(order, plan.batch_size) if len(rows) > 1]
        total = 0.0
        for rows in batches:
            value = _step(model, material, rows, plan, optimizer)
            schedule.step()
            if not math.isfinite(value):
                message = (
                    f"the loss became {value} in epoch {epoch}: lower the learning rate, "
                    "or bring the inputs to a common scale"
                )
                raise errors.ProjectError(message)
            total += value
        losses.append(total / len(batches))
        if validation is not None:
            scores.append(score(model, validation, plan.task))
        if progress is not None:
            progress(epoch, losses[-1])
    return History(tuple(losses), tuple(scores))


@contextlib.contextmanager
def _layout(model: nn.Module, precision: Precision) -> Iterator[None]:
    """Keep filters with their channels last inside the block, where that is faster."""
    if precision == "fp32":
        yield
        return
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _one_cycle(
    optimizer: torch.optim.Optimizer, peak: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=steps + 1)


def _decayed(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise errors.ProjectError("every parameter has requires_grad=False: nothing can be trained")
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _step(
    model: nn.Module,
    material: _Material,
    rows: torch.Tensor,
    plan: FitPlan,
    optimizer: torch.optim.Optimizer,
) -> float:
    tensors = {name: tensor[rows] for name, tensor in material.tensors.items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=plan.precision == "bf16"):
        answers = network.shaped(network.call(model, tensors), plan.task).float()
    value = loss(answers, material.targets[rows], plan.task, material.scale)
    if material.teacher is not None:
        distance = _distance(answers, material.teacher[rows], plan, material.scale)
        value = torch.lerp(value, distance, plan.distill_weight)
    if plan.penalty is not None:
        value = value + plan.penalty(model)
    optimizer.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    if plan.after_step is not None:
        plan.after_step(model)
    return float(value.item())


def raw(model: nn.Module, split: project.Split, task: labels.Task) -> torch.Tensor:
    """Return a model's shaped answers to a split: logits [rows, classes], or values [rows]."""
    return _raw(model, split.inputs, task)


def _raw(model: nn.Module, inputs: Mapping[str, project.Array], task: labels.Task) -> torch.Tensor:
    """Return shaped answers of all rows in float32, in batches, in evaluation mode."""
    tensors = network.to_tensors(inputs)
    rows = len(next(iter(tensors.values())))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            parts = [
                network.shaped(
                    network.call(
                        model, {name: t[at : at + PREDICT_ROWS] for name, t in tensors.items()}
                    ),
                    task,
                )
                for at in range(0, rows, PREDICT_ROWS)
            ]
    finally:
        model.train(was_training)
    return torch.cat(parts).float()


def logits(
    model: nn.Module, inputs: Mapping[str, project.Array], *, task: labels.Task
) -> npt.NDArray[np.float32]:
    """Return what the model itself answers: logits [rows, classes], or values [rows]."""
    return _raw(model, inputs, task).numpy()


def predict(
    model: nn.Module, inputs: Mapping[str, project.Array], *, task: labels.Task
) -> npt.NDArray[np.float32]:
    """Return the public answer: class probabilities [rows, classes], or values [rows]."""
    answers = _raw(model, inputs, task)
    return (answers if task == "regression" else answers.softmax(dim=1)).numpy()


def score(model: nn.Module, split: project.Split, task: labels.Task, scale: float = 1.0) -> float:
    """Return the mean score on a split, in [0, 1]; for classes the accuracy."""
    answers = predict(model, split.inputs, task=task)
    return float(
        labels.scores(answers, split.targets.astype(np.float64), task=task, scale=scale).mean()
    )


def reestimate_batch_norm(model: nn.Module, split: project.Split, rows: int) -> None:
    """Replace the running statistics of every BatchNorm by those of `rows` rows of a split.

    After a cut the statistics are stale: a pruned ResNet went from 39% to 89% accuracy by this
    alone. The rows are spread over the split and every batch over the rows, so that data sorted by
    class does no harm; the statistics are the plain mean over the batches. Nothing else changes.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, network.BATCH_NORMS) and module.track_running_stats
    ]
    rows = min(rows, split.rows)
    if not layers or rows < 2:
        return
    chosen = np.unique(np.linspace(0, split.rows - 1, rows).astype(np.int64))
    batches = math.ceil(rows / PREDICT_ROWS)
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    try:
        with torch.no_grad():
            for start in range(batches):
                network.call(model, network.to_tensors(split.take(chosen[start::batches]).inputs))
    finally:
        model.eval()
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
