"""Audited pairs in the order in which they were drawn, with gaps where a label is missing (pure).

`monitoring.evidence` counts a pair whose label has not come as the worst that it could turn out to
be. Where labels come slower than pairs, the unlabelled ones at the end of the sample would so
outweigh hundreds of labels at its beginning, and even a candidate that is wrong on every request
would stay undecided until the labelling has caught up. But one may look at any time, so also as if
one had stopped drawing earlier: the evidence of any beginning of the sample is as sound as that of
the whole. Hence the evidence here is that of the best beginning.

Why that is sound: let M(k) be the wealth of the first k pairs with all their labels known. By
Ville's inequality the chance that M ever reaches 1/alpha is at most alpha. What is computed here
for a beginning of k pairs, some of them counted as the worst, is at most M(k).

References
----------
Ville (1939), Etude critique de la notion de collectif; see also `monitoring.evidence`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from monitoring import asking, bets, evidence

Growth: TypeAlias = Callable[[float | Sequence[float] | bets.Floats, float], bets.Floats]


GAPS_KEPT = 5000
"""Pairs kept from the first gap on; bounds memory where a label never comes."""


class Gap(msgspec.Struct):
    """A pair that needs a label, at its place behind the first one whose label is missing."""

    ties: int
    """Agreeing pairs between the gap before and this one."""
    divergence: float
    """Bound on the outcome whatever the truth, in (0, 1]."""
    outcome: float | None = None
    """In [-divergence, divergence]; `None` while the label is missing."""


class PairSequence(msgspec.Struct):
    """The pairs of one candidate, or of one slice of it, as far as they are known.

    Examples
    --------
    Fifteen pairs were drawn, all of them disagreements; the first ten are labelled as harm:

    >>> pairs = PairSequence(evidence.PairedState())
    >>> for number in range(15):
    ...     pairs.wait(str(number), divergence=1.0)
    >>> for number in range(10):
    ...     pairs.settle(str(number), outcome=1.0)
    >>> decision = pairs.decide()
    >>> decision.kind, decision.counts.harm, decision.pending
    ('rollback', 10, 5)

    Counting the other five as the worst, as gains, would have shown nothing:

    >>> evidence.decide(pairs.settled(), [1.0] * 5).kind
    'undecided'
    """

    head: evidence.PairedState
    """All pairs before the first gap."""
    ties: int = 0
    """Newest agreeing pairs of the head, not yet folded into it."""
    outcomes: list[float] = []
    """Newest outcomes of the head, not yet folded into it."""
    gaps: dict[str, Gap] = {}
    """Pairs that need or needed a label, from the first that still misses it; by key."""
    ties_after: int = 0
    """Agreeing pairs behind the last gap."""
    given_up: int = 0
    """Pairs of the head that stay counted as the worst, because too many came after them."""

    def tie(self, count: int) -> None:
        """Add agreeing pairs, which need no label."""
        if self.gaps:
            self.ties_after += count
        else:
            self.ties += count

    def settle_at_once(self, outcomes: Sequence[float]) -> None:
        """Add labelled pairs where nothing is ever missing, because only labelled pairs count."""
        self.outcomes.extend(outcomes)

    def wait(self, key: str, divergence: float) -> None:
        """Add a pair that needs a label."""
        self.gaps[key] = Gap(self.ties_after, divergence)
        self.ties_after = 0
        if len(self.gaps) > GAPS_KEPT:
            self._give_up_first()

    def settle(self, key: str, outcome: float) -> None:
        """Tell the outcome of a pair that waited; one that was given up is passed over."""
        gap = self.gaps.get(key)
        if gap is not None:
            gap.outcome = outcome
            self._advance()

    def settled(self) -> evidence.PairedState:
        """Return the state of all pairs whose outcome is known, wherever they stand."""
        known = [gap.outcome for gap in self.gaps.values() if gap.outcome is not None]
        ties = sum(gap.ties for gap in self.gaps.values()) + self.ties_after
        return _extended(self._fold(), ties, known)

    def pending(self) -> list[float]:
        """Return the divergence of each pair whose label is missing, in the order of the sample."""
        return [gap.divergence for gap in self.gaps.values() if gap.outcome is None]

    def decide(self, margins: evidence.Margins | None = None) -> evidence.Decision:
        """Say what the best beginning of the sample allows; where it is both, rollback wins.

        Parameters
        ----------
        margins
            Stands in for those of the state, with another alpha.
        """
        known, head = self.settled(), self.head
        margins = margins or head.margins
        found = evidence.Evidence(
            promote=self._best(head.promote, bets.growth_below, margins.promote, worst=1.0),
            rollback=self._best(head.rollback, bets.growth_above, margins.rollback, worst=-1.0),
        )
        kind: evidence.DecisionKind = "undecided"
        if found.rollback >= margins.threshold:
            kind = "rollback"
        elif found.promote >= margins.threshold:
            kind = "promote"
        return evidence.Decision(
            kind=kind,
            evidence=found,
            margins=margins,
            counts=known.counts,
            labels=known.labels,
            pending=len(self.pending()) + self.given_up,
            harm=known.harm,
        )

    def labels_needed(self) -> int | None:
        """Estimate how many more labels decide; 0 where the evidence does, `None` where none will.

        Either the missing ones come, or the sample goes on as it did before the first gap.
        """
        if self.decide().kind != "undecided":
            return 0
        estimates = (
            asking.labels_needed(self.settled(), self.pending()),
            asking.labels_needed(self._fold()),
        )
        return min((each for each in estimates if each is not None), default=None)

    def _best(
        self, wealth: tuple[float, ...], growth: Growth, margin: float, *, worst: float
    ) -> float:
        """Return the largest log evidence of all beginnings that end at or behind the first gap."""
        gaps = list(self.gaps.values())
        ties = np.array([*(gap.ties for gap in gaps), self.ties_after], dtype=np.float64)
        outcomes = [worst * gap.divergence if gap.outcome is None else gap.outcome for gap in gaps]
        steps = np.zeros((2 * len(gaps) + 2, len(wealth)))
        steps[0] = wealth
        steps[1::2] = ties[:, np.newaxis] * growth(0.0, margin)
        steps[2::2] = growth(outcomes, margin)
        return float(bets.mixture(steps.cumsum(axis=0)).max())

    def _advance(self) -> None:
        """Move settled pairs from the front of the gaps into the head."""
        while self.gaps:
            first, gap = next(iter(self.gaps.items()))
            if gap.outcome is None:
                return
            self.ties += gap.ties
            self.outcomes.append(gap.outcome)
            del self.gaps[first]
        self.ties += self.ties_after
        self.ties_after = 0

    def _give_up_first(self) -> None:
        """Count the first gap as the worst for good: as a harm in one bet, a gain in the other."""
        first = next(iter(self.gaps))
        gap = self.gaps.pop(first)
        self.ties += gap.ties
        head = self._fold()
        margins = head.margins
        promote = bets.growth_below(gap.divergence, margins.promote)
        rollback = bets.growth_above(-gap.divergence, margins.rollback)
        self.head = dataclasses.replace(
            head,
            promote=tuple(np.add(head.promote, promote).tolist()),
            rollback=tuple(np.add(head.rollback, rollback).tolist()),
        )
        self.given_up += 1
        self._advance()

    def _fold(self) -> evidence.PairedState:
        """Fold what is new into the head; together, because that costs no more than one by one."""
        if self.ties or self.outcomes:
            self.head = _extended(self.head, self.ties, self.outcomes)
            self.ties, self.outcomes = 0, []
        return self.head


def _extended(
    state: evidence.PairedState, ties: int, outcomes: Sequence[float]
) -> evidence.PairedState:
    if ties:
        state = state.extend(np.zeros(ties), labelled=False)
    return state.extend(outcomes) if outcomes else state
