"""Can one tell from a model's loss whether it was trained on a row? Pure functions over scores.

A score is high where the attacker thinks that the row was a member. Areas under the curve are
compared on the same rows, so their difference has a much narrower interval than two areas.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from coppice.labels import Floats

FALSE_ALARMS = 0.01
"""Share of others that an attacker may accuse wrongly: at a large share an attack is worthless."""


class Scores(NamedTuple):
    """What the attacker thinks of rows that were trained on, and of others."""

    members: Floats
    others: Floats


class Estimate(NamedTuple):
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float


def confidence_scores(logits: Floats, targets: npt.NDArray[np.integer]) -> Floats:
    """Return the log odds of the true class; they order rows just as the loss does, backwards.

    The loss itself rounds to zero on many rows of a sure model, which would make them ties.

    >>> confidence_scores(np.array([[0.0, 0.0], [60.0, 0.0]]), np.array([0, 0])).tolist()
    [0.0, 60.0]

    References
    ----------
    Carlini et al.: Membership Inference Attacks From First Principles, S&P 2022 (the scaling).
    """
    wide = logits.astype(np.float64)
    truth = np.take_along_axis(wide, targets[:, np.newaxis], axis=1)[:, 0]
    np.put_along_axis(wide, targets[:, np.newaxis], -np.inf, axis=1)
    top = wide.max(axis=1)
    rest = top + np.log(np.exp(wide - top[:, np.newaxis]).sum(axis=1))
    return np.asarray(truth - rest)


def auc(scores: Scores, *, confidence: float) -> Estimate:
    """Return the chance that a member scores above another row, ties half; with its interval.

    >>> auc(Scores(np.array([3.0, 2.0]), np.array([1.0, 2.0])), confidence=0.95).value
    0.875

    References
    ----------
    DeLong, DeLong, Clarke-Pearson: Comparing the Areas under Two or More Correlated Receiver
    Operating Characteristic Curves, Biometrics 44 (1988).
    Sun, Xu: Fast Implementation of DeLong's Algorithm, IEEE Signal Processing Letters 21 (2014).
    """
    value, variance = _delong([scores], np.array([1.0]))
    low, high = _ends(value, variance, confidence)
    return Estimate(value, max(low, 0.0), min(high, 1.0))


def auc_rise(before: Scores, after: Scores, *, confidence: float) -> Estimate:
    """Return by how much the area is larger for the second model on the same rows (DeLong)."""
    value, variance = _delong([before, after], np.array([-1.0, 1.0]))
    low, high = _ends(value, variance, confidence)
    return Estimate(value, max(low, -1.0), min(high, 1.0))


def accused(scores: Scores) -> npt.NDArray[np.bool_]:
    """Say which members score above all but `FALSE_ALARMS` of the others; bool [members].

    >>> accused(Scores(np.array([0.5, 2.0]), np.arange(2.0))).tolist()
    [False, True]
    """
    allowed = int(FALSE_ALARMS * len(scores.others))
    threshold = np.sort(scores.others)[::-1][allowed]
    return np.asarray(scores.members > threshold)


def share(hits: npt.NDArray[np.bool_], *, confidence: float) -> Estimate:
    """Return the share of hits with its exact interval (Clopper and Pearson, 1934).

    >>> [round(end, 4) for end in share(np.zeros(100, dtype=bool), confidence=0.95)]
    [0.0, 0.0, 0.0362]
    """
    test = stats.binomtest(int(hits.sum()), len(hits))
    low, high = test.proportion_ci(confidence_level=confidence, method="exact")
    return Estimate(float(hits.mean()), float(low), float(high))


def curve(scores: Scores, points: int = 50) -> tuple[tuple[float, float], ...]:
    """Return the attacker's curve: share of others and of members above falling thresholds."""
    every = np.sort(np.concatenate([scores.members, scores.others]))
    thresholds = every[np.linspace(len(every) - 1, 0, points).astype(np.int64)]
    found = [
        (float((scores.others >= at).mean()), float((scores.members >= at).mean()))
        for at in thresholds
    ]
    return ((0.0, 0.0), *found)


def _delong(models: Sequence[Scores], weights: Floats) -> tuple[float, float]:
    """Return the weighted sum of the areas, and its variance.

    A member's placement is the share of others below it; the variance of the areas follows from
    how the placements of members, and of others, vary together over the models.
    """
    placed = [_placements(scores) for scores in models]
    members = np.stack([member for member, _ in placed])
    others = np.stack([other for _, other in placed])
    combined = [weights @ members, weights @ others]
    variance = sum(float(part.var(ddof=1)) / len(part) for part in combined)
    return float(weights @ members.mean(axis=1)), variance


def _placements(scores: Scores) -> tuple[Floats, Floats]:
    members, others = len(scores.members), len(scores.others)
    every = stats.rankdata(np.concatenate([scores.members, scores.others]))
    below = every[:members] - stats.rankdata(scores.members)
    above = every[members:] - stats.rankdata(scores.others)
    return np.asarray(below / others), np.asarray(1.0 - above / members)


def _ends(value: float, variance: float, confidence: float) -> tuple[float, float]:
    reach = statistics.NormalDist().inv_cdf(0.5 + confidence / 2.0) * float(np.sqrt(variance))
    return value - reach, value + reach
