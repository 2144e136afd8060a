"""Real models for the benchmarks: small networks on scikit-learn's digit scans, and their answers.

Training takes seconds. Answers are computed once; what the benchmarks draw from are answers.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from torch import nn

from coppice.project import Split
from retrain import network, train
from retrain.pruning import recipe, schedule
from tests.support import digits

Classes = npt.NDArray[np.int64]

TRAIN = 500


def pieces() -> tuple[Split, Split]:
    """500 scans to train on, and the other 1,297, which play the traffic."""
    scans, targets = load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(targets))
    whole = Split(
        inputs={"pixels": (scans[order].reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)},
        targets=targets[order].astype(np.int64),
    )
    return whole.take(np.arange(TRAIN)), whole.take(np.arange(TRAIN, len(targets)))


def dense(split: Split, *, seed: int, epochs: int = 12) -> nn.Module:
    """Train a dense network."""
    model = network.build(digits.build_model, seed=seed)
    plan = train.FitPlan(task="multiclass", epochs=epochs, learning_rate=1e-2, seed=seed)
    train.fit(model, split, plan)
    return model


def pruned(parent: nn.Module, split: Split, amount: float, *, epochs: int, seed: int) -> nn.Module:
    """Prune a copy of a network and recover it by distillation for so many epochs."""
    model = copy.deepcopy(parent)
    how = recipe.Recipe(criterion="taylor", amount=amount)
    schedule.prune(model, split, how, task="multiclass", seed=seed)
    if epochs:
        plan = train.FitPlan(
            task="multiclass",
            epochs=epochs,
            learning_rate=4e-3,
            distill_weight=0.7,
            seed=seed,
        )
        train.fit(model, split, plan, teacher=parent)
    return model


def classes(model: nn.Module, pixels: npt.NDArray[Any]) -> Classes:
    """The class that a network names for each row."""
    logits = train.logits(model, {"pixels": pixels}, task="multiclass")
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)
