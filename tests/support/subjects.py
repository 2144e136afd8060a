"""Real candidates under examination: digit scans and tumour measurements, trained in seconds.

Models are made once for the whole run; whoever changes one copies it first.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from torch import nn

from coppice import labels, project, settings
from retrain import network, train
from retrain.evaluate import evaluation, section
from retrain.pruning import recipe, schedule
from tests.support import digits

RECIPE = recipe.Recipe(criterion="magnitude", amount=0.5, align=4, finetune_epochs=3)
FOLDER = Path("/nowhere")


class Harmed(nn.Module):
    """A model that gives the next class wherever a rule holds for the row."""

    def __init__(self, model: nn.Module, rule: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.model, self.rule = model, rule

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        logits = self.model(rows)
        return torch.where(self.rule(rows)[:, None], logits.roll(1, dims=1), logits)


def subject_of(
    data: project.Data,
    models: Mapping[evaluation.Column, nn.Module],
    factory: Callable[[], nn.Module],
    *,
    task: labels.Task = "multiclass",
    scale: float = 1.0,
    **tables: Any,
) -> section.Subject:
    name = {"name": "subject", "task": task, "scale": scale}
    tree = settings.from_tree({"project": name} | tables, root=FOLDER)
    return section.Subject(
        own=project.Project(settings=tree, build_model=factory, load_data=lambda: data),
        models=models,
        data=data,
        production=None,
        training=data.train,
        rules=evaluation.Rules(task=task, scale=scale, classes=data.classes),
        recipe=RECIPE,
        graphs={},
    )


def with_inspect(subject: section.Subject, **fields: Any) -> section.Subject:
    """Return the same subject under other settings of `[inspect]`."""
    tree = subject.own.settings
    changed = tree.model_copy(
        update={"inspect": settings.InspectSettings(**tree.inspect.model_dump() | fields)}
    )
    own = dataclasses.replace(subject.own, settings=changed)
    return dataclasses.replace(subject, own=own)


def with_candidate(subject: section.Subject, model: nn.Module) -> section.Subject:
    """Return the same subject with another candidate."""
    return dataclasses.replace(subject, models=dict(subject.models) | {"candidate": model.eval()})


@functools.cache
def scans() -> section.Subject:
    """Digit scans: 500 to train on, a holdout of 900, and a pruned CNN."""
    pieces = digits.splits()
    data = project.Data(
        train=pieces["train"],
        validation=pieces["validation"],
        holdout=_joined(pieces["holdout"], pieces["traffic"]),
        classes=digits.CLASSES,
    )
    return _made(data, digits.build_model, task="multiclass", epochs=6)


@functools.cache
def tumours() -> section.Subject:
    """Breast cancer: 30 standardised columns, two classes, an age band that says nothing."""
    values, truth = load_breast_cancer(return_X_y=True)
    data = _tabular(values, truth.astype(np.int64), train=200)
    return _made(
        dataclasses.replace(data, classes=("malignant", "benign")), tumour_model, task="binary"
    )


@functools.cache
def diabetes() -> section.Subject:
    """Diabetes progression: ten columns, a regression in tens of units."""
    values, truth = load_diabetes(return_X_y=True)
    data = _tabular(values, truth, train=220)
    return _made(data, diabetes_model, task="regression", scale=200.0)


def tumour_model() -> nn.Module:
    return _perceptron(30, 2)


def diabetes_model() -> nn.Module:
    return _perceptron(10, 1)


def _perceptron(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, outputs)
    )


def _tabular(values: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], train: int) -> project.Data:
    order = np.random.default_rng(7).permutation(len(values))
    scaled = ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)
    band = np.where(np.arange(len(values)) % 2 == 0, "young", "old")
    everything = project.Split(
        inputs={"values": scaled[order]}, targets=truth[order], slices={"band": band}
    )
    rows = np.arange(len(values))
    return project.Data(
        train=everything.take(rows[:train]),
        validation=everything.take(rows[train : train + 40]),
        holdout=everything.take(rows[train + 40 :]),
    )


def _made(
    data: project.Data,
    factory: Callable[[], nn.Module],
    *,
    task: labels.Task,
    scale: float = 1.0,
    epochs: int = 20,
) -> section.Subject:
    parent = network.build(factory, seed=0)
    train.fit(parent, data.train, train.FitPlan(task=task, epochs=epochs, learning_rate=1e-2))
    candidate, null = copy.deepcopy(parent), copy.deepcopy(parent)
    schedule.prune(candidate, data.train, RECIPE, task=task, seed=0)
    plan = train.FitPlan(
        task=task,
        epochs=RECIPE.finetune_epochs,
        learning_rate=RECIPE.learning_rate,
        distill_weight=RECIPE.distill_weight,
    )
    for model in (candidate, null):
        train.fit(model, data.train, plan, teacher=parent)
    models: dict[evaluation.Column, nn.Module] = {
        "parent": parent,
        "null": null,
        "candidate": candidate,
    }
    return subject_of(data, models, factory, task=task, scale=scale)


def _joined(first: project.Split, second: project.Split) -> project.Split:
    return project.Split(
        inputs={
            name: np.concatenate([array, second.inputs[name]])
            for name, array in first.inputs.items()
        },
        targets=np.concatenate([first.targets, second.targets]),
        slices={
            name: np.concatenate([array, second.slices[name]])
            for name, array in first.slices.items()
        },
    )
