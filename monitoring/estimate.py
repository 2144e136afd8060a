"""How well a version does where no label has come: an estimate from its answers alone (pure).

Classes: the mean confidence after the version's own calibrator, a temperature fitted on validation
rows (confidence-based performance estimation). Where the monitoring features do not hold every
class (more than 16), the confidence is calibrated by how often the reference rows of like
confidence were right. Regression: a ridge regression of the reference rows' loss on their features
and the squares of these (direct loss estimation).

Both assume that answers are as right as those like them were on the reference. That breaks when
inputs move to where the version has never been (measured on noisy garments: estimated 78% where 30%
was true), so an estimate is *trusted* only of a window in which nothing drifts, and even then it
only asks for labels.

References
----------
Garg et al. (2022), Leveraging unlabeled data to predict out-of-distribution performance. Guo et al.
(2017), On calibration of modern neural networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from coppice import artifact, features

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

BINS = 10
"""Groups of like confidence, where there is no calibrator for all classes."""
RIDGE = 0.01
"""Penalty on the standardised coefficients, as a share of the rows."""
Z = 1.959964
"""Standard deviations that a 95% interval reaches to either side."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Mean score that one window of answers should have, without a label."""

    mean: float
    low: float
    high: float
    """95% interval for what chance does to so many rows; it knows nothing of a broken premise."""
    expected: float
    """What the same method says of the reference."""
    rows: int
    trusted: bool = False
    """Whether nothing drifted in the same window."""

    def fell(self, tolerance: float) -> bool:
        """Say whether it lies further below what is expected than is tolerated."""
        return self.mean < self.expected - tolerance


@dataclass(frozen=True, slots=True, eq=False)
class Estimator:
    """Estimates scores from monitoring features; made by `of`."""

    scores: Callable[[Floats], Floats]
    """Expected score of each row of features, in [0, 1]."""
    spread: float
    """Standard deviation of a row's true score around the expected one."""
    expected: float

    @classmethod
    def of(
        cls,
        manifest: artifact.Manifest,
        reference: Mapping[str, npt.NDArray[np.generic]],
        temperature: float,
    ) -> Estimator | None:
        """Learn from a version's reference; `None` where that holds no features or targets."""
        if not {"features", "scores", "targets"} <= set(reference):
            return None
        columns, answers, targets = (
            np.asarray(reference[name], dtype=np.float64)
            for name in ("features", "scores", "targets")
        )
        if not len(columns) or len(columns) != len(targets) or not np.isfinite(columns).all():
            return None
        if manifest.task == "regression":
            right = 1.0 - np.minimum(np.abs(answers - targets) / manifest.scale, 1.0)
            scores = _loss_regression(columns, right)
        else:
            right = (answers.argmax(axis=1) == targets).astype(np.float64)
            scores = _confidence(len(manifest.classes), columns, right, temperature)
        found = scores(columns)
        return cls(scores, float(np.sqrt(np.mean((right - found) ** 2))), float(found.mean()))

    def look(self, window: Floats, *, trusted: bool) -> Estimate | None:
        """Estimate the mean score of a window of features; `None` of an empty or broken one."""
        values = np.asarray(window, dtype=np.float64)
        if not len(values) or not np.isfinite(values).all():
            return None
        scores = self.scores(values)
        mean, half = float(scores.mean()), Z * self.spread / len(values) ** 0.5
        return Estimate(
            mean=mean,
            low=max(mean - half, 0.0),
            high=min(mean + half, 1.0),
            expected=self.expected,
            rows=len(values),
            trusted=trusted,
        )


def calibrated_confidence(scores: Floats, temperature: float) -> Floats:
    """Return the largest class probability of each row after a temperature.

    >>> calibrated_confidence(np.array([[0.9, 0.1]]), temperature=2.0).round(3).tolist()
    [0.75]
    """
    logits = np.log(np.maximum(scores, 1e-12)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    confidence: Floats = 1.0 / np.exp(logits).sum(axis=1)
    return confidence


def _confidence(
    classes: int, columns: Floats, right: Floats, temperature: float
) -> Callable[[Floats], Floats]:
    if classes <= features.MAX_CLASSES:
        return lambda values: calibrated_confidence(values[:, :classes], temperature)
    place = features.MAX_CLASSES - 1
    edges = np.unique(np.quantile(columns[:, place], np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, columns[:, place])
    counts = np.bincount(bins, minlength=len(edges) + 1)
    # One imagined row of average success keeps an empty bin from claiming anything.
    hits = np.bincount(bins, weights=right, minlength=len(edges) + 1)
    shares = (hits + right.mean()) / (counts + 1)
    return lambda values: shares[np.searchsorted(edges, values[:, place])]


def _loss_regression(columns: Floats, right: Floats) -> Callable[[Floats], Floats]:
    centre, width = columns.mean(axis=0), columns.std(axis=0)
    width = np.where(width > 0.0, width, 1.0)

    def design(values: Floats) -> Floats:
        standard = (values - centre) / width
        return np.hstack([np.ones((len(values), 1)), standard, standard**2])

    known = design(columns)
    penalty = RIDGE * len(columns) * np.eye(known.shape[1])
    penalty[0, 0] = 0.0
    weights = np.linalg.solve(known.T @ known + penalty, known.T @ right)

    def scores(values: Floats) -> Floats:
        clipped: Floats = np.clip(design(values) @ weights, 0.0, 1.0)
        return clipped

    return scores
