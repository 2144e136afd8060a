"""The task's own measures on recent labelled rows, each with its interval (pure).

Classes: `f1_macro` (mean over the classes that occur), `log_loss` (nats) and `calibration_error`
(ten bins of confidence) of the scores that were served. Regression: `mae` and `rmse`, in units of
the target. Intervals are 95% percentile bootstraps over rows: all measures of one window are drawn
from the same resampled rows, with a fixed seed, so the same rows give the same figures.

References
----------
Guo et al. (2017), On calibration of modern neural networks. Efron, Tibshirani (1993), An
introduction to the bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from coppice import labels
from monitoring import windows

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Measure: TypeAlias = Callable[[Floats], Floats]
"""From weights of the rows [draws, rows], which sum to 1, to values [draws]."""

LEAST_ROWS = 20
"""Fewer rows have no measures: their intervals would say nothing."""
DRAWS = 200
BINS = 10


class Figure(msgspec.Struct, frozen=True):
    """A measure with its 95% interval."""

    value: float
    low: float
    high: float


class Delay(msgspec.Struct, frozen=True):
    """How long labels take, seconds from the request to its label."""

    p50: float
    p90: float


class Quality(msgspec.Struct, frozen=True):
    """The measures of one version in one slice."""

    rows: int
    figures: dict[str, Figure]


def by_slice(window: windows.Window, task: labels.Task) -> dict[str, Quality]:
    """Measure a version's recent rows; `all` holds every row, small slices are left out."""
    parts: dict[str, list[windows.LabelledRow]] = {"all": []}
    for row in window.recent():
        for name in ("all", *row.slices):
            parts.setdefault(name, []).append(row)
    return {
        name: Quality(len(rows), measure(rows, task))
        for name, rows in parts.items()
        if len(rows) >= LEAST_ROWS
    }


def measure(rows: Sequence[windows.LabelledRow], task: labels.Task) -> dict[str, Figure]:
    """Return every measure that these rows allow.

    Examples
    --------
    >>> rows = [
    ...     windows.LabelledRow("r", 0, target, 0.0, (), answer=answer)
    ...     for target, answer in [(1.0, 1.5), (2.0, 1.0)] * 20]
    >>> found = measure(rows, "regression")
    >>> found["mae"].value, round(found["rmse"].value, 3)
    (0.75, 0.791)
    """
    told = [row for row in rows if row.answer is not None]
    if not told:
        return {}
    answers = np.array([row.answer for row in told], dtype=np.float64)
    targets = np.array([row.target for row in told])
    if task == "regression":
        return _figures(_errors(answers - targets), len(told))
    found = _figures({"f1_macro": _f1_macro(answers, targets)}, len(told))
    sure = [row for row in told if row.confidence is not None and row.surprise is not None]
    if not sure:
        return found
    confidence = np.array([row.confidence for row in sure], dtype=np.float64)
    surprise = np.array([row.surprise for row in sure], dtype=np.float64)
    right = np.array([row.answer == row.target for row in sure], dtype=np.float64)
    measures = {
        "log_loss": _mean(surprise),
        "calibration_error": _calibration_error(confidence, right),
    }
    return found | _figures(measures, len(sure))


def delay(rows: Sequence[windows.LabelledRow]) -> Delay | None:
    """Return how long the labels of these rows took; `None` without any.

    >>> delay([windows.LabelledRow("r", 0, 1.0, 1.0, (), delay=seconds) for seconds in range(11)])
    Delay(p50=5.0, p90=9.0)
    """
    if not rows:
        return None
    median, late = np.quantile([row.delay for row in rows], [0.5, 0.9])
    return Delay(float(median), float(late))


def _figures(measures: Mapping[str, Measure], rows: int) -> dict[str, Figure]:
    weights = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), DRAWS) / rows
    found = {}
    for name, statistic in measures.items():
        value = float(statistic(np.full((1, rows), 1 / rows))[0])
        low, high = np.quantile(statistic(weights), [0.025, 0.975]).tolist()
        # A measure that resampling can only raise must still lie in its own interval.
        found[name] = Figure(value, min(low, value), max(high, value))
    return found


def _mean(values: Floats) -> Measure:
    def statistic(weights: Floats) -> Floats:
        means: Floats = weights @ values
        return means

    return statistic


def _errors(errors: Floats) -> dict[str, Measure]:
    squares = _mean(errors**2)
    return {"mae": _mean(np.abs(errors)), "rmse": lambda weights: np.sqrt(squares(weights))}


def _f1_macro(answers: Floats, targets: Floats) -> Measure:
    classes = np.unique(np.concatenate([answers, targets]))
    said = (answers[:, np.newaxis] == classes).astype(np.float64)
    true = (targets[:, np.newaxis] == classes).astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        hits, mentions = weights @ (said * true), weights @ (said + true)
        # A class that a draw left out altogether does not count in it.
        occurs = mentions > 0.0
        scores = np.divide(2.0 * hits, mentions, out=np.zeros_like(hits), where=occurs)
        means: Floats = scores.sum(axis=1) / occurs.sum(axis=1)
        return means

    return statistic


def _calibration_error(confidence: Floats, right: Floats) -> Measure:
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = (bins[:, np.newaxis] == np.arange(BINS)) * (right - confidence)[:, np.newaxis]

    def statistic(weights: Floats) -> Floats:
        distances: Floats = np.abs(weights @ gaps).sum(axis=1)
        return distances

    return statistic
