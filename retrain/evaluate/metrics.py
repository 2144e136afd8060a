"""How good one model's answers are, in plain figures: pure functions over answers and targets.

Answers are what the model says in public: class probabilities float [rows, classes], or regression
values float [rows]. `score` is the mean of `coppice.labels.scores`, so that offline figures and
live ones mean the same.
"""

from __future__ import annotations

import numpy as np

from coppice import labels
from coppice.labels import Floats

BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
_TINY = 1e-7
"""Probabilities are clipped here, so that one confident mistake cannot make the loss infinite."""


def measure(
    answers: Floats, targets: Floats, *, task: labels.Task, scale: float = 1.0
) -> dict[str, float]:
    """Return every figure of one model on one set of rows.

    Always `rows` and `score` (accuracy for classes); for classes also `log_loss` (nats) and
    `calibration_error`; for regression `mae`, `rmse` (units of the target) and `r2`.

    >>> measure(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0.0, 0.0]), task="binary")["score"]
    0.5
    """
    scored = labels.scores(answers, targets, task=task, scale=scale)
    figures = {"rows": float(len(targets)), "score": float(scored.mean())}
    if task == "regression":
        return figures | _errors(answers, targets)
    return figures | {
        "log_loss": log_loss(answers, targets),
        "calibration_error": calibration_error(answers, targets),
    }


def log_loss(probabilities: Floats, targets: Floats) -> float:
    """Return the mean negative log probability of the true class, in nats.

    >>> round(log_loss(np.array([[0.5, 0.5]]), np.array([1.0])), 4)  # ln 2
    0.6931
    """
    truth = probabilities[np.arange(len(targets)), targets.astype(np.int64)]
    return float(-np.log(np.clip(truth, _TINY, 1.0)).mean())


def calibration_error(probabilities: Floats, targets: Floats) -> float:
    """Return the expected calibration error: how far confidence lies from accuracy, in [0, 1].

    Rows are binned by the probability of their top class, in equal widths; each bin counts by its
    share of the rows.

    >>> calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0.0, 0.0, 0.0, 1.0]))
    0.0

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(targets))


def _errors(answers: Floats, targets: Floats) -> dict[str, float]:
    error = answers.astype(np.float64) - targets
    spread = float(((targets - targets.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        # Constant targets leave nothing to explain; a NaN could not be written to the card.
        "r2": 1.0 - float((error**2).sum()) / spread if spread > 0 else 0.0,
    }
