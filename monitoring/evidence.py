"""Evidence for and against a candidate: anytime-valid tests on paired answers (pure arithmetic).

A request that both versions answered gives one paired *outcome*: score(stable) minus
score(candidate), in [-1, 1]; for classes +1 is harm, -1 is gain, 0 is a tie. Two bets run against
two null hypotheses:

- *rollback*: "the mean outcome is at most `rollback`" (the candidate does no such harm);
- *promote*: "the mean outcome is at least `promote`" (the candidate does that much harm).

While a null holds, the wealth of a bet against it cannot be expected to grow, so by Ville's
inequality P(ever W >= 1/alpha) <= alpha: one may look after every pair, stop whenever one likes,
and go on later. The *evidence* is a mean of W over a fixed grid of bets (`monitoring.bets`),
which is such a wealth itself; it is given as a natural logarithm. Every state is a frozen value of
plain numbers: `msgspec.to_builtins` writes it and `msgspec.convert` reads it back, so that a
restarted monitor decides what the first one would have decided.

Which pairs may be counted
--------------------------
*Asked labels*: every pair of an audit sample that was drawn before any answer was known. Agreeing
pairs are ties at once; a disagreeing pair waits for its label, and while it waits it counts as the
worst that its *divergence* allows, for each bet the other way round. So each wealth is at each
moment at most the wealth of the same pairs with all labels known. A pending pair is never a factor
of the settled wealth: it stands beside it (`pending`) and is *replaced* by its outcome, which may
raise the wealth again. Such a wealth is no test martingale, but it need not be one: whenever it has
reached 1/alpha, the fully labelled one had reached it by the same pair, so the chance that it ever
does is at most alpha too, however labels are delayed, lost, or slow for the hard cases.

*Natural labels*: only labelled pairs, agreeing ones too, and nothing is pending. Sound only while
being labelled does not depend on the outcome. Never mix the two: with many pairs counted as the
worst, nothing is ever decided.

References
----------
Ville (1939), Etude critique de la notion de collectif. Waudby-Smith, Ramdas (2024), Estimating
means of bounded random variables by betting, JRSS B 86(1). Ramdas, Gruenwald, Vovk, Shafer (2023),
Game-theoretic statistics and safe anytime-valid inference, Statistical Science 38(4).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from monitoring import bets

DecisionKind: TypeAlias = Literal["promote", "rollback", "undecided"]

LARGEST_EXPECTED_FAILURE_RATE = 0.25
"""Bets on failures expect no more, so that one early failure is no evidence at default settings."""


@dataclass(frozen=True, slots=True)
class Margins:
    """What counts as harm, and how sure a decision must be.

    Parameters
    ----------
    promote
        Loss of mean score that the candidate must be shown to stay below, in [0, 1).
    rollback
        Loss of mean score that it must be shown to exceed to be rolled back, in [0, `promote`].
    alpha
        Bound on the probability of ever deciding wrongly, for each direction, in (0, 1).

    Raises
    ------
    ValueError
        The margins or alpha are out of range.
    """

    promote: float = 0.01
    rollback: float = 0.01
    alpha: float = 0.05

    def __post_init__(self) -> None:
        """Refuse margins that leave a gap in which both decisions would be right."""
        if not 0.0 <= self.rollback <= self.promote < 1.0 or not 0.0 < self.alpha < 1.0:
            message = f"need 0 <= rollback <= promote < 1 and 0 < alpha < 1; got {self}"
            raise ValueError(message)

    @property
    def threshold(self) -> float:
        """Log evidence at which to act: log(1 / alpha)."""
        return -math.log(self.alpha)

    def at_place(self, place: int) -> Margins:
        """Return the margins for the slice that was the `place`-th to appear, counted from 1.

        It gets alpha / (place * (place + 1)) for good. These shares sum to alpha however many
        slices there will be, and each is known before the slice's first pair counts, so that all
        slices together ever err with chance at most alpha, also those that appear late.

        >>> margins = Margins(alpha=0.06)
        >>> [round(margins.at_place(place).alpha, 4) for place in (1, 2, 3)]
        [0.03, 0.01, 0.005]
        """
        return replace(self, alpha=self.alpha / (place * (place + 1)))


class PairCounts(NamedTuple):
    """How many pairs had which outcome: 1, -1 and 0, or positive, negative and none."""

    harm: int
    gain: int
    tie: int


NO_PAIRS = PairCounts(harm=0, gain=0, tie=0)
OUTCOMES = np.array([1.0, -1.0, 0.0])
"""The outcomes that `PairCounts` counts, in its order."""


def log_evidence_promote(counts: PairCounts, margins: Margins) -> float:
    """Return the log evidence that the candidate's harm is below the promote margin.

    >>> round(log_evidence_promote(PairCounts(harm=30, gain=30, tie=2000), Margins()), 2)
    2.33
    """
    return float(bets.mixture(np.array(counts) @ bets.growth_below(OUTCOMES, margins.promote)))


def log_evidence_rollback(counts: PairCounts, margins: Margins) -> float:
    """Return the log evidence that the candidate's harm is above the rollback margin.

    >>> round(log_evidence_rollback(PairCounts(harm=20, gain=5, tie=375), Margins()), 2)
    1.8
    """
    return float(bets.mixture(np.array(counts) @ bets.growth_above(OUTCOMES, margins.rollback)))


@dataclass(frozen=True, slots=True)
class PairedState:
    """The settled pairs of one candidate (or of one slice of it), as log wealth per bet.

    Examples
    --------
    A candidate that disagrees on 3% of the requests and is as good as the champion:

    >>> rng = np.random.default_rng(7)
    >>> outcomes = rng.choice([1.0, -1.0, 0.0], p=[0.015, 0.015, 0.97], size=2500)
    >>> state = PairedState(Margins()).extend(outcomes)
    >>> decide(state).kind, state.counts.harm, state.counts.gain
    ('promote', 31, 35)

    The same while five more disagreements still wait for their labels:

    >>> decide(state, pending=[1.0] * 5).kind
    'undecided'
    """

    margins: Margins = Margins()
    counts: PairCounts = NO_PAIRS
    """Pairs by the sign of their outcome."""
    labels: int = 0
    """How many of the pairs needed a label."""
    total: float = 0.0
    """Sum of the outcomes."""
    promote: tuple[float, ...] = bets.EVEN
    """Log wealth per bet against "harm is at least the promote margin"."""
    rollback: tuple[float, ...] = bets.EVEN
    """Log wealth per bet against "harm is at most the rollback margin"."""

    @property
    def pairs(self) -> int:
        """How many pairs are settled."""
        return sum(self.counts)

    @property
    def harm(self) -> float | None:
        """Mean outcome: the candidate's loss of mean score; `None` before the first pair."""
        return self.total / self.pairs if self.pairs else None

    def add(self, outcome: float, *, labelled: bool = True) -> PairedState:
        """Settle one pair.

        Parameters
        ----------
        outcome
            In [-1, 1].
        labelled
            False for a tie that needed no label, because both answers agree.

        Raises
        ------
        ValueError
            The outcome is outside [-1, 1] or NaN.
        """
        return self.extend([outcome], labelled=labelled)

    def extend(
        self, outcomes: Sequence[float] | bets.Floats, *, labelled: bool = True
    ) -> PairedState:
        """Settle several pairs; see `add`. Their order does not matter."""
        values = np.asarray(outcomes, dtype=np.float64)
        wrong = values[~(np.abs(values) <= 1.0)]
        if len(wrong):
            message = f"outcomes lie in [-1, 1]; got {wrong[:5].tolist()}"
            raise ValueError(message)
        signs = [int((values > 0).sum()), int((values < 0).sum()), int((values == 0).sum())]
        promote = bets.growth_below(values, self.margins.promote).sum(axis=0)
        rollback = bets.growth_above(values, self.margins.rollback).sum(axis=0)
        return replace(
            self,
            counts=PairCounts(*np.add(self.counts, signs).tolist()),
            labels=self.labels + len(values) * labelled,
            total=self.total + float(values.sum()),
            promote=tuple(np.add(self.promote, promote).tolist()),
            rollback=tuple(np.add(self.rollback, rollback).tolist()),
        )


@dataclass(frozen=True, slots=True)
class AskedPair:
    """A pair of the audit sample: how far its answers differ, and its outcome once labelled."""

    divergence: float
    """Bound on the outcome whatever the truth, from `coppice.labels.divergence`, in [0, 1]."""
    outcome: float | None = None
    """Score of stable minus score of candidate, in [-divergence, divergence]."""


def asked(pairs: Sequence[AskedPair], margins: Margins) -> tuple[PairedState, tuple[float, ...]]:
    """Split audited pairs into the settled state and the divergences that are pending.

    >>> pairs = [AskedPair(0.0), AskedPair(1.0), AskedPair(1.0, outcome=-1.0)]
    >>> state, pending = asked(pairs, Margins())
    >>> state.counts, pending
    (PairCounts(harm=0, gain=1, tie=1), (1.0,))
    """
    differing = [pair for pair in pairs if pair.divergence > 0.0]
    agreeing = len(pairs) - len(differing)
    settled = PairedState(margins).extend([0.0] * agreeing, labelled=False)
    settled = settled.extend([pair.outcome for pair in differing if pair.outcome is not None])
    return settled, tuple(pair.divergence for pair in differing if pair.outcome is None)


class Evidence(NamedTuple):
    """Log evidence in both directions."""

    promote: float
    rollback: float


def weigh(state: PairedState, pending: Sequence[float] = ()) -> Evidence:
    """Return the log evidence of the settled pairs, with the pending ones counted as the worst.

    Parameters
    ----------
    state
        The settled pairs.
    pending
        Divergence of each audited pair whose label has not come. It counts as harm of that size
        for promotion and as gain of that size for rollback.
    """
    worst = np.asarray(pending, dtype=np.float64)
    promote = bets.growth_below(worst, state.margins.promote).sum(axis=0)
    rollback = bets.growth_above(-worst, state.margins.rollback).sum(axis=0)
    return Evidence(
        promote=float(bets.mixture(np.add(state.promote, promote))),
        rollback=float(bets.mixture(np.add(state.rollback, rollback))),
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What the evidence allows, with the numbers behind it."""

    kind: DecisionKind
    evidence: Evidence
    margins: Margins
    counts: PairCounts
    labels: int
    """How many of the settled pairs needed a label."""
    pending: int
    """How many pairs wait for one."""
    harm: float | None
    """Mean outcome of the settled pairs."""

    @property
    def threshold(self) -> float:
        """Log evidence at which to act."""
        return self.margins.threshold

    @property
    def label_coverage(self) -> float:
        """Share of the pairs whose outcome is known; 0 without pairs."""
        return sum(self.counts) / max(sum(self.counts) + self.pending, 1)


def decide(state: PairedState, pending: Sequence[float] = ()) -> Decision:
    """Say what the evidence allows; where it allows both, rollback wins.

    >>> decide(PairedState(Margins()).extend([1.0] * 20 + [0.0] * 380)).kind
    'rollback'
    """
    evidence = weigh(state, pending)
    threshold = state.margins.threshold
    kind: DecisionKind = "undecided"
    if evidence.rollback >= threshold:
        kind = "rollback"
    elif evidence.promote >= threshold:
        kind = "promote"
    return Decision(
        kind, evidence, state.margins, state.counts, state.labels, len(pending), state.harm
    )


@dataclass(frozen=True, slots=True)
class BernoulliState:
    """Evidence that a candidate fails (error, timeout) more often than a rate allows.

    The null is "each request fails with probability at most `margin`". A bet that expects the
    failure rate p grows by p / margin with a failure and by (1 - p) / (1 - margin) without one:
    a bet on the bounded outcome "failed" as above. The grid of p is even in log odds.

    Parameters
    ----------
    margin
        Share of failures that is allowed, in (0, 1).
    alpha
        Bound on the probability of ever finding more while there is not, in (0, 1).
    failures, trials
        Failed requests among all that the candidate was given.

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> BernoulliState(failures=1, trials=1).exceeded
    False
    >>> BernoulliState(failures=8, trials=200).exceeded
    True
    """

    margin: float = 0.01
    alpha: float = 0.05
    failures: int = 0
    trials: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if not (0.0 < self.margin < 1.0 and 0.0 < self.alpha < 1.0):
            message = f"margin and alpha lie in (0, 1); got {self.margin} and {self.alpha}"
            raise ValueError(message)
        if not 0 <= self.failures <= self.trials:
            message = f"need 0 <= failures <= trials; got {self.failures} of {self.trials}"
            raise ValueError(message)

    def add(self, *, failed: bool) -> BernoulliState:
        """Count one request."""
        return replace(self, failures=self.failures + failed, trials=self.trials + 1)

    @property
    def log_evidence(self) -> float:
        """Log evidence that the failure rate is above the margin."""
        failure, success = _failure_growth(self.margin)
        wealth = self.failures * failure + (self.trials - self.failures) * success
        return float(bets.mixture(wealth))

    @property
    def exceeded(self) -> bool:
        """Whether the failure rate is shown to be above the margin."""
        return self.log_evidence >= -math.log(self.alpha)

    @property
    def rate(self) -> float | None:
        """Observed share of failures; `None` before the first request."""
        return self.failures / self.trials if self.trials else None


@functools.lru_cache(maxsize=64)
def _failure_growth(margin: float) -> tuple[bets.Floats, bets.Floats]:
    odds = margin / (1.0 - margin)
    limit = LARGEST_EXPECTED_FAILURE_RATE / (1.0 - LARGEST_EXPECTED_FAILURE_RATE)
    expected = odds * np.geomspace(1.25, max(4.0, limit / odds), len(bets.SHARES))
    rates = expected / (1.0 + expected)
    return np.log(rates / margin), np.log1p((margin - rates) / (1.0 - margin))
