"""Candidates to examine on real data, digit scans and breast cancer; faults are planted on wish."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from torch import nn

from coppice import labels, project, settings
from retrain import network, train
from retrain.evaluate import evaluation, section
from retrain.pruning import recipe
from tests.support import digits

CANCER_ROWS = {"train": 350, "validation": 70, "holdout": 149}


def subject(data: project.Data, **changes: Any) -> section.Subject:
    """Put data under examination, without models unless they are given."""
    task: labels.Task = "binary" if len(data.classes) == 2 else "multiclass"
    whole: dict[str, Any] = {
        "own": own(task, changes.pop("inspect", {})),
        "models": {},
        "data": data,
        "production": None,
        "training": data.train,
        "rules": evaluation.Rules(task=task, classes=data.classes),
        "recipe": recipe.Recipe(),
        "graphs": {},
    }
    return section.Subject(**{**whole, **changes})


def own(task: labels.Task, inspect: dict[str, Any]) -> project.Project:
    """Return a project around the digits' network."""
    tree = {"project": {"name": "digits", "task": task}, "inspect": inspect}
    return project.Project(
        settings=settings.from_tree(tree, root=Path()),
        build_model=digits.build_model,
        load_data=digits.load_data,
    )


@functools.cache
def cancer() -> project.Data:
    """Return the 569 rows of the Wisconsin breast cancer data, cut into splits."""
    values, targets = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(targets))
    whole = project.Split(
        inputs={"cells": values[order].astype(np.float32)},
        targets=targets[order].astype(np.int64),
    )
    ends = np.cumsum(list(CANCER_ROWS.values()))
    pieces = {
        name: whole.take(np.arange(end - rows, end))
        for (name, rows), end in zip(CANCER_ROWS.items(), ends, strict=True)
    }
    return project.Data(**pieces, classes=("malignant", "benign"))


def flipped(split: project.Split, share: float, classes: int) -> tuple[project.Split, set[int]]:
    """Give some rows another class than theirs; returns the split and these rows."""
    random = np.random.default_rng(0)
    rows = random.choice(split.rows, round(share * split.rows), replace=False)
    targets = split.targets.copy()
    targets[rows] = (targets[rows] + random.integers(1, classes, len(rows))) % classes
    return dataclasses.replace(split, targets=targets), set(rows.tolist())


def fitted(split: project.Split, epochs: int = 15) -> nn.Module:
    """Train the digits' network."""
    model = network.build(digits.build_model, seed=0)
    plan = train.FitPlan(
        task="multiclass",
        epochs=epochs,
        batch_size=64,
        learning_rate=2e-3,
        weight_decay=1e-2,
        distill_weight=0.0,
        temperature=2.0,
        seed=0,
    )
    train.fit(model, split, plan)
    return model.eval()
