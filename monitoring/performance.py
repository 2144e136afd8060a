"""Live scores with intervals, and the alarm for decay (pure arithmetic).

The alarm is an e-CUSUM: for each bet of a grid, wealth M grows by 1 + bet * (floor - score) with
every labelled score and never starts again below 1, M = max(M, 1) * (1 + bet * (floor - score)).
The mean over the bets is an e-detector: as long as the mean score, given the past, is at least the
floor, the average number of labels until it first reaches the threshold A is at least A, wherever
it is looked at and however scores are distributed in [0, 1].

References
----------
Shin, Ramdas, Rinaldo (2023), E-detectors: a nonparametric framework for sequential change
detection, New England Journal of Statistics in Data Science 2(2). Wilson (1927), Probable
inference, the law of succession, and statistical inference, JASA 22. Hajek (1971), in Foundations
of Statistical Inference (weighted means).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from monitoring import bets

FLOOR_CONFIDENCE = 0.99
"""One-sided confidence that the true accepted score is not below the floor; see `decay_floor`."""

BASELINE = 400
"""First labels of a reign that are counted with the holdout, where the holdout's own error leaves
the floor below what is tolerated."""

HEADROOM = math.log(20.0)
"""Wealth beyond the threshold is cut off here, so that an alarm clears within tens of labels once
the scores are good again. Cutting wealth can only delay an alarm, so the bound stands."""


class Interval(NamedTuple):
    """A confidence interval within [0, 1]."""

    low: float
    high: float


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """Return Wilson's two-sided interval for a proportion.

    It also serves the mean of any scores in [0, 1]: of all such scores with a given mean those that
    are 0 or 1 vary the most, so for others the interval is only wider than it need be.

    Parameters
    ----------
    successes
        Sum of the scores.
    n
        How many there are, or the equal of so many; without any, the interval is [0, 1].
    level
        Confidence, in (0, 1).

    Examples
    --------
    >>> low, high = wilson(45, 50)
    >>> round(low, 3), round(high, 3)
    (0.786, 0.957)
    """
    if n <= 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    mean = successes / n
    centre = (mean + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z * math.sqrt(mean * (1.0 - mean) / n + z * z / (4.0 * n * n)) / (1.0 + z * z / n)
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0))


class LiveScore(NamedTuple):
    """Mean score of a version in a window, with its interval."""

    mean: float
    low: float
    high: float
    labels: int


def live_score(
    scores: Sequence[float] | bets.Floats,
    inclusion: Sequence[float] | bets.Floats | None = None,
    level: float = 0.95,
) -> LiveScore | None:
    """Estimate the mean score of all requests from those that have labels.

    Parameters
    ----------
    scores
        Score of each labelled row, in [0, 1].
    inclusion
        Probability with which each row came to be labelled, in (0, 1], where labels were asked for;
        rows weigh by its inverse. By default all rows were as likely.
    level
        Confidence of the interval, in (0, 1).

    Returns
    -------
    LiveScore | None
        `None` without a single label.

    Raises
    ------
    ValueError
        A score is outside [0, 1] or NaN, or an inclusion probability is outside (0, 1].

    Examples
    --------
    Nine right answers that were labelled for sure and one wrong one that was drawn with chance 0.1
    stand for 9 right ones and 10 wrong ones:

    >>> score = live_score([1.0] * 9 + [0.0], inclusion=[1.0] * 9 + [0.1])
    >>> round(score.mean, 3), score.labels
    (0.474, 10)
    """
    values = np.asarray(scores, dtype=np.float64)
    chances = np.ones(len(values)) if inclusion is None else np.asarray(inclusion, np.float64)
    if not ((values >= 0) & (values <= 1)).all() or not ((chances > 0) & (chances <= 1)).all():
        message = "scores lie in [0, 1] and inclusion probabilities in (0, 1]"
        raise ValueError(message)
    if not len(values):
        return None
    weights = 1.0 / chances
    mean = float(np.clip((weights * values).sum() / weights.sum(), 0.0, 1.0))
    # Kish: unequal weights are worth as much as so many equal ones.
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    return LiveScore(mean, *wilson(mean * effective, effective, level), len(values))


def decay_floor(accepted: float, tolerance: float, rows: int | None = None) -> float:
    """Return the lowest mean score that is no decay.

    It is the accepted score minus the tolerance, or, where the accepted score rests on so few rows
    that its own error exceeds the tolerance, the lower confidence bound of it. A version that is
    as good as on the day it was accepted, though the holdout flattered it, hence stays above it
    with 99% confidence; and on an ample holdout the tolerance is the whole allowance.

    Parameters
    ----------
    accepted
        Mean score on the holdout, in [0, 1].
    tolerance
        Loss of mean score that is tolerated, at least 0.
    rows
        Rows of the holdout; `None` where the accepted score is known exactly.

    Examples
    --------
    >>> round(decay_floor(0.95, 0.05, rows=1000), 3), round(decay_floor(0.95, 0.05, rows=60), 3)
    (0.9, 0.84)
    """
    floor = accepted - tolerance
    if rows is not None:
        level = 2.0 * FLOOR_CONFIDENCE - 1.0
        floor = min(floor, wilson(accepted * rows, rows, level).low)
    return max(floor, 0.0)


@dataclass(frozen=True, slots=True)
class ECusum:
    """The alarm for decay of one version, as a frozen state that takes one label at a time.

    Parameters
    ----------
    accepted
        Mean score on the holdout at acceptance, in [0, 1].
    tolerance
        Loss of mean score that is tolerated.
    threshold
        Least average number of labels to a false alarm, above 1.
    rows
        Rows of that holdout; see `decay_floor`.

    Examples
    --------
    Accuracy falls from 95% to 80% after 500 labels, with 5 points tolerated:

    >>> rng = np.random.default_rng(0)
    >>> alarm = ECusum(accepted=0.95, tolerance=0.05, threshold=10_000)
    >>> for count in range(1000):
    ...     alarm = alarm.add(float(rng.random() < (0.95 if count < 500 else 0.80)))
    ...     if alarm.fired:
    ...         break
    >>> alarm.count
    764
    """

    accepted: float
    tolerance: float
    threshold: float
    rows: int | None = None
    count: int = 0
    """Labelled scores so far."""
    opening: float = 0.0
    """Sum of those of them that belong to the baseline."""
    wealth: tuple[float, ...] = bets.EVEN
    """Log wealth per bet."""

    def __post_init__(self) -> None:
        """Refuse settings under which it would always or never fire."""
        if not (0.0 <= self.accepted <= 1.0 and self.tolerance >= 0.0 and self.threshold > 1.0):
            message = f"need 0 <= accepted <= 1, tolerance >= 0, threshold > 1; got {self}"
            raise ValueError(message)

    @property
    def floor(self) -> float:
        """Lowest mean score that is no decay.

        A small holdout leaves it low. The first `BASELINE` live scores then say together with the
        holdout how good the version is, and may lift it, though never above the accepted score
        minus the tolerance. They are so many whatever they are, and bets are laid on later scores
        alone, so the bound on false alarms stands.
        """
        lowest = decay_floor(self.accepted, self.tolerance, self.rows)
        if self.rows is None or self.count < BASELINE:
            return lowest
        rows = self.rows + BASELINE
        level = min((self.accepted * self.rows + self.opening) / rows, self.accepted)
        return max(lowest, decay_floor(level, self.tolerance, rows))

    def add(self, score: float) -> ECusum:
        """Take one labelled score in [0, 1]; see `extend`."""
        return self.extend([score])

    def extend(self, scores: Sequence[float] | bets.Floats) -> ECusum:
        """Take labelled scores in the order of their labels.

        Raises
        ------
        ValueError
            A score is outside [0, 1] or NaN.
        """
        values = np.asarray(scores, dtype=np.float64)
        if not ((values >= 0.0) & (values <= 1.0)).all():
            message = f"scores lie in [0, 1]; got {values.tolist()[:5]}"
            raise ValueError(message)
        missing = max(BASELINE - self.count, 0)
        if 0 < missing < len(values):  # the floor may change in between
            return self.extend(values[:missing]).extend(values[missing:])
        wealth = np.array(self.wealth)
        for growth in bets.growth_below(values, self.floor):
            wealth = np.minimum(np.maximum(wealth, 0.0) + growth, self._ceiling)
        return replace(
            self,
            count=self.count + len(values),
            opening=self.opening + (float(values.sum()) if missing else 0.0),
            wealth=tuple(wealth.tolist()),
        )

    @property
    def log_evidence(self) -> float:
        """Log of the e-detector: evidence that the mean score has fallen below the floor."""
        return float(bets.mixture(np.array(self.wealth)))

    @property
    def fired(self) -> bool:
        """Whether the alarm is on; it goes off by itself once scores are good again."""
        return self.log_evidence >= math.log(self.threshold)

    @property
    def subsided(self) -> bool:
        """Whether an alarm that was on may be called off: it fell well below the threshold.

        Between here and the threshold an alarm stays as it was, so that one good score among bad
        ones does not call it off.
        """
        return self.log_evidence < math.log(self.threshold) - HEADROOM

    @property
    def _ceiling(self) -> float:
        return math.log(self.threshold * len(bets.SHARES)) + HEADROOM
