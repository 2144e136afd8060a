"""Figures of classifiers and regressions under many weightings of the same rows at once.

A bootstrap draw is nothing but a count for each row, so every figure here takes the counts of all
draws as one matrix, `weights` float [draws, rows], and gives one value for each draw [draws]. With
a single row of ones it gives the plain figure. No loop runs over draws; loops run over classes at
most. Answers are class probabilities [rows, classes] or regression values [rows].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import labels
from coppice.labels import Floats
from retrain.evaluate import metrics

Figure: TypeAlias = Callable[[Floats, Floats, Floats], Floats]
"""From answers, targets [rows] and weights [draws, rows] to one value for each draw."""

Mask: TypeAlias = npt.NDArray[np.bool_]

_TINY = 1e-7


def figures(task: labels.Task) -> dict[str, Figure]:
    """Return the figures of a task, by the name that a card gives them."""
    if task == "regression":
        return {"mae": mae, "rmse": rmse, "r2": r2}
    return {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "f1_macro": f1_macro,
        "auroc": auroc,
        "log_loss": log_loss,
        "brier": brier,
        "calibration_error": calibration_error,
    }


def plain(rows: int) -> Floats:
    """Return the weighting that counts each row once [1, rows]."""
    return np.ones((1, rows))


def accuracy(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the share of rows whose most likely class is the true one."""
    return _mean((answers.argmax(axis=1) == targets).astype(np.float64), weights)


def balanced_accuracy(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the mean over the classes of the share that is recognised (recall).

    Classes without a row in a draw are left out of that draw's mean.
    """
    hits, truth, _ = _counts(answers, targets, weights)
    return _mean_where(hits / np.maximum(truth, 1.0), truth > 0)


def f1_macro(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the mean F1 over the classes that a draw holds or that were answered in it."""
    hits, truth, named = _counts(answers, targets, weights)
    return _mean_where(2.0 * hits / np.maximum(truth + named, 1.0), truth + named > 0)


def auroc(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the area under the ROC curve: each class against the rest, then their mean.

    It is the chance that a row of the class is given a higher probability of it than another row,
    ties counting half. Two classes need one curve only. A class that a draw lacks (or consists of)
    has no curve and is left out; without any the value is 0.5.

    References
    ----------
    Hanley, McNeil, The meaning and use of the area under a ROC curve, Radiology 143 (1982), 29-36.
    """
    classes = range(1, 2) if answers.shape[1] == 2 else range(answers.shape[1])
    curves = [_ranked(answers[:, index], targets == index, weights) for index in classes]
    areas, there = (np.stack(part, axis=1) for part in zip(*curves, strict=True))
    found = _mean_where(areas, there)
    return np.asarray(np.where(there.any(axis=1), found, 0.5))


def log_loss(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the mean negative log probability of the true class, in nats."""
    return _mean(losses(answers, targets), weights)


def losses(answers: Floats, targets: Floats) -> Floats:
    """Return the negative log probability of the true class, row by row, in nats."""
    truth = answers[np.arange(len(targets)), targets.astype(np.int64)]
    return np.asarray(-np.log(np.clip(truth, _TINY, 1.0)))


def brier(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the mean squared distance of the probabilities from the truth, in [0, 2].

    References
    ----------
    Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78
    (1950), 1-3 (the original form, summed over the classes).
    """
    truth = targets.astype(np.int64)[:, None] == np.arange(answers.shape[1])
    return _mean(((answers - truth) ** 2).sum(axis=1), weights)


def calibration_error(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the expected calibration error, as `metrics.calibration_error` does."""
    confidence = answers.max(axis=1)
    gap = (answers.argmax(axis=1) == targets) - confidence
    bins = np.eye(metrics.BINS)[
        np.minimum((confidence * metrics.BINS).astype(np.int64), metrics.BINS - 1)
    ]
    gaps = weights @ (bins * gap[:, None])
    return np.asarray(np.abs(gaps).sum(axis=1) / weights.sum(axis=1))


def mae(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the mean absolute error, in units of the target."""
    return _mean(np.abs(answers - targets), weights)


def rmse(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the root of the mean squared error, in units of the target."""
    return np.sqrt(_mean((answers - targets) ** 2, weights))


def r2(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    """Return the share of the targets' variance that is explained; 0 where they do not vary."""
    centred = targets - targets.mean()
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    error = _mean((answers - targets) ** 2, weights)
    return np.asarray(np.where(spread > 0, 1.0 - error / np.where(spread > 0, spread, 1.0), 0.0))


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray(weights @ values / weights.sum(axis=1))


def _mean_where(values: Floats, there: Mask) -> Floats:
    return np.asarray((values * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def _counts(answers: Floats, targets: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Count by class [draws, classes]: rows recognised, rows there are, rows given the class."""
    names = np.arange(answers.shape[1])
    truth = (targets[:, None] == names).astype(np.float64)
    named = (answers.argmax(axis=1)[:, None] == names).astype(np.float64)
    return weights @ (truth * named), weights @ truth, weights @ named


def _ranked(scores: Floats, positive: Mask, weights: Floats) -> tuple[Floats, Floats]:
    """Return the area of one curve [draws], and whether the draw has both kinds of rows."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    inside = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
    outside = np.add.reduceat((weights * ~positive)[:, order], starts, axis=1)
    below = np.cumsum(outside, axis=1) - outside / 2.0
    possible = inside.sum(axis=1) * outside.sum(axis=1)
    area = (inside * below).sum(axis=1) / np.maximum(possible, 1e-12)
    return np.asarray(area), np.asarray(possible > 0)
