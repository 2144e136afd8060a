"""The rules that a canary is decided by, ours and others', over many canaries at once.

Each rule takes `Seen`, all that was labelled by each look, and says at which looks it would act,
`[runs, looks]`. Rules that know no margin test for any harm at all.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from monitoring import bets, evidence

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Flags: TypeAlias = npt.NDArray[np.bool_]

ALPHA = 0.05
MARGIN = 0.01
CRITICAL = float(stats.norm.ppf(1.0 - ALPHA))
TAIL_TERMS = 200
"""Terms of a hypergeometric tail that are added up; the rest is below 1e-9 at our sizes."""


class Seen(NamedTuple):
    """Labelled pairs by each look, cumulated, `[runs, looks]` each."""

    harm: Floats
    gain: Floats
    right: Floats
    """Both right."""
    wrong: Floats
    """Both wrong."""
    paired: bool
    """Whether both answered the same request; otherwise two requests were put side by side."""
    stride: int
    """Looks in which about fifty labels come."""

    @property
    def pairs(self) -> Floats:
        return np.maximum(self.harm + self.gain + self.right + self.wrong, 1.0)

    @property
    def outcomes(self) -> Floats:
        return np.stack([self.harm, self.gain, self.right + self.wrong], axis=-1)

    def loss(self) -> tuple[Floats, Floats]:
        """The loss of accuracy, and the variance of that estimate."""
        pairs = self.pairs
        loss = (self.harm - self.gain) / pairs
        if self.paired:
            # Half a harm and half a gain more, so that no variance is zero.
            spread = (self.harm + self.gain + 1.0) / (pairs + 1.0) - loss**2
            return loss, np.maximum(spread, 1.0 / (pairs + 1.0)) / pairs
        rates = [(wrong + 0.5) / (pairs + 1.0) for wrong in self.errors()]
        return loss, sum((rate * (1.0 - rate) for rate in rates), np.zeros_like(pairs)) / pairs

    def errors(self) -> tuple[Floats, Floats]:
        """Wrong answers of candidate and stable."""
        return self.harm + self.wrong, self.gain + self.wrong


Rule: TypeAlias = Callable[[Seen], Flags]


class Grid(NamedTuple):
    """A grid of bets: shares of the largest, and the part of the wealth on each."""

    shares: Sequence[float]
    weights: Sequence[float]


OURS = Grid(bets.SHARES, bets.WEIGHTS)
OTHER_GRIDS = {
    "ours, ten equal bets 0.02 to 0.95": Grid(np.geomspace(0.02, 0.95, 10).tolist(), [0.1] * 10),
    "ours, six equal bets 0.05 to 0.9": Grid(np.geomspace(0.05, 0.9, 6).tolist(), [1 / 6] * 6),
    "ours, ten even bets 0.05 to 0.95": Grid(np.linspace(0.05, 0.95, 10).tolist(), [0.1] * 10),
}


def log_evidence(outcomes: Floats, grid: Grid, *, above: bool) -> Floats:
    """The evidence of `monitoring.evidence` for counts `[..., 3]`, with any grid."""
    side = 1.0 if above else -1.0
    sizes = np.array(grid.shares) / (1.0 + side * MARGIN)
    growth = np.log1p(sizes * side * (evidence.OUTCOMES[:, None] - MARGIN))
    wealth = outcomes @ growth
    best = wealth.max(axis=-1)
    return np.asarray(best + np.log(np.exp(wealth - best[..., None]) @ np.array(grid.weights)))


def betting(seen: Seen, grid: Grid = OURS) -> Flags:
    """Roll back where the evidence of harm above the margin reaches 1 / alpha."""
    return np.asarray(log_evidence(seen.outcomes, grid, above=True) >= -math.log(ALPHA))


def promoting(seen: Seen, grid: Grid = OURS) -> Flags:
    """Promote where the evidence of harm below the margin reaches 1 / alpha."""
    return np.asarray(log_evidence(seen.outcomes, grid, above=False) >= -math.log(ALPHA))


def repeated_z(seen: Seen, critical: float = CRITICAL) -> Flags:
    """A one-sided z-test of "the loss is above the margin" at every look."""
    loss, variance = seen.loss()
    return np.asarray(loss - MARGIN > critical * np.sqrt(variance))


def corrected_z(seen: Seen) -> Flags:
    """The same with alpha divided by the number of looks (Bonferroni)."""
    return repeated_z(seen, float(stats.norm.isf(ALPHA / seen.harm.shape[1])))


def repeated_exact(seen: Seen) -> Flags:
    """The exact test of "no harm at all" at every look: McNemar on pairs, Fisher on two arms."""
    if seen.paired:
        return np.asarray(
            stats.binom.sf(seen.harm - 1.0, np.maximum(seen.harm + seen.gain, 1.0), 0.5) <= ALPHA
        )
    candidate, stable = seen.errors()
    likely = candidate > stable + CRITICAL * np.sqrt(np.maximum(candidate + stable, 1.0)) / 2.0
    found = np.zeros(likely.shape, dtype=bool)
    pairs = np.broadcast_to(seen.pairs, likely.shape)[likely]
    found[likely] = _fisher(candidate[likely], stable[likely], pairs) <= ALPHA
    return found


def _fisher(candidate: Floats, stable: Floats, pairs: Floats) -> Floats:
    """One-sided p-value of so many wrong answers of the candidate, both arms of the same size."""
    wrong = candidate + stable
    first = (
        _log_choose(pairs, candidate) + _log_choose(pairs, stable) - _log_choose(2 * pairs, wrong)
    )
    term = np.exp(first)
    total = term.copy()
    for step in range(TAIL_TERMS):
        count = candidate + step
        term = term * np.maximum(pairs - count, 0.0) * np.maximum(wrong - count, 0.0)
        term /= (count + 1.0) * (pairs - wrong + count + 1.0)
        total += term
    return total


def _log_choose(total: Floats, chosen: Floats) -> Floats:
    return np.asarray(
        special.gammaln(total + 1)
        - special.gammaln(chosen + 1)
        - special.gammaln(total - chosen + 1)
    )


def msprt(seen: Seen, spread: float = 0.03) -> Flags:
    """The mixture sequential probability ratio test (Johari et al. 2017), one-sided as used."""
    loss, variance = seen.loss()
    beyond = loss - MARGIN
    ratio = 0.5 * np.log(variance / (variance + spread**2))
    ratio += beyond**2 * spread**2 / (2.0 * variance * (variance + spread**2))
    return np.asarray((beyond > 0.0) & (ratio >= -math.log(ALPHA)))


def fixed(seen: Seen, limit: int, accuracy: float) -> Flags:
    """Act after more than `limit` measurements, of fifty labels each, below a fixed accuracy."""
    candidate, _ = seen.errors()
    every = slice(seen.stride - 1, None, seen.stride)
    wrong = np.diff(candidate[:, every], axis=1, prepend=0.0)
    pairs = np.diff(np.broadcast_to(seen.pairs, candidate.shape)[:, every], axis=1, prepend=0.0)
    failed = wrong > (1.0 - accuracy) * pairs
    acts = np.zeros(candidate.shape, dtype=bool)
    acts[:, every] = failed.cumsum(axis=1) > limit
    return np.logical_or.accumulate(acts, axis=1)


def rolling(seen: Seen, accuracy: float, measurements: int = 10) -> Flags:
    """Act at the first mean over the last 500 labels below a fixed accuracy."""
    span = measurements * seen.stride
    candidate, _ = seen.errors()
    pairs = np.broadcast_to(seen.pairs, candidate.shape)
    acts = np.zeros(candidate.shape, dtype=bool)
    acts[:, span - 1 :] = _last(candidate, span) > (1.0 - accuracy) * _last(pairs, span)
    return acts


def _last(cumulated: Floats, looks: int) -> Floats:
    """What came within the last so many looks, from the first look that has so many."""
    before = np.concatenate([np.zeros((len(cumulated), 1)), cumulated], axis=1)
    return np.asarray(before[:, looks:] - before[:, :-looks])


def rules(accuracy: float, *, grids: bool) -> dict[str, Rule]:
    """The contestants; fixed thresholds are set a margin below the stable version's accuracy."""
    least = accuracy - MARGIN
    others: dict[str, Rule] = {
        name: functools.partial(betting, grid=grid) for name, grid in OTHER_GRIDS.items()
    }
    return {
        "ours": betting,
        **(others if grids else {}),
        "mSPRT": msprt,
        "z-test at every look": repeated_z,
        "z-test, Bonferroni": corrected_z,
        "exact test at every look": repeated_exact,
        "Argo Rollouts, failureLimit 3": functools.partial(fixed, limit=3, accuracy=least),
        "Flagger, threshold 10": functools.partial(fixed, limit=9, accuracy=least),
        "mean of the last 500 labels": functools.partial(rolling, accuracy=least),
    }
