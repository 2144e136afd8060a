"""Why a champion decays: the pruning, the release, or the world (pure arithmetic).

The recent labelled window is replayed through the champion's dense parent and the previous
champion. Who does better than the champion on the very same rows shows the cause:

======================= ========= ==============================================================
the dense parent        pruning   what was cut away is missed now: prune milder
the previous champion   release   the newer version is worse here: roll back
neither                 world     all of them decay: retrain on today's data, then prune again
======================= ========= ==============================================================

A version *explains* the decay when it is better beyond chance (exact paired test, Holm over the
comparisons), and by more than was *usual* when the champion was accepted, to the amount of at least
half of the decay. The half matters because small differences are beyond chance in any large window,
and would hide a world that moved much further. What was usual matters because a gate may have
accepted a loss against the parent: a gap that was always there explains no decay, yet it is large
beside a young one, whose window is still half full of better days. Where both explain it, the
pruning is the cause, for the parent learned from the same data as the champion and differs from it
by the cut alone; unless the previous champion explains it against the parent too: then the parent
itself is worse, and cutting less would not mend it. Whether the previous champion explains it is
kept beside the cause (`retreat`): rolling back is instant and helps at once, whatever is mended
afterwards.

"Neither" must be shown, not just not be disproved: it takes an upper confidence bound of each
advantage below half of the decay. Otherwise the diagnosis is undecided and says how many labels
more it takes.

The paired test is the exact sign-flip test: if two versions are equally good, each difference of
scores is as likely the other way round. For scores of 0 and 1 that is McNemar's exact test (the
binomial distribution of the discordant rows); for scores in between, each row weighs by its size.

References
----------
McNemar (1947), Psychometrika 12; Fisher (1935), The Design of Experiments (sign flips); Holm
(1979), Scandinavian Journal of Statistics 6; Agresti, Min (2005), Simple improved confidence
intervals for comparing matched proportions, Statistics in Medicine 24 (the upper bound).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from coppice import records
from monitoring import bets

RESOLUTION = 100
"""Differences of scores are rounded to 1/100 before the exact test; 0 and 1 lose nothing."""

SHARE = 0.5
"""Share of the decay that a cause must account for."""

NAMES: dict[records.Cause, str] = {
    "pruning": "its dense parent",
    "release": "the previous champion",
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The cause of a decay, or why it is still open."""

    cause: records.Cause
    reason: str
    """One or two sentences with figures."""
    p_values: dict[str, float] = field(default_factory=dict)
    """Holm-adjusted, by cause."""
    advantages: dict[str, float] = field(default_factory=dict)
    """By how much the dense parent and the previous champion beat the champion, by cause."""
    labels_needed: int = 0
    """Estimate of the labelled rows still missing; 0 once there is a cause."""
    retreat: bool = False
    """Whether the previous champion explains the decay too, so that rolling back helps at once."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a diagnosis must show.

    Parameters
    ----------
    alpha
        Bound on the probability of blaming a version that is no better than the champion.
    min_labels
        Fewest rows to conclude anything from.
    """

    alpha: float = 0.05
    min_labels: int = 60


@dataclass(frozen=True, slots=True)
class _Case:
    """The replayed window of a champion that decays."""

    champion: bets.Floats
    known: Mapping[records.Cause, bets.Floats]
    usual: Mapping[records.Cause, float]
    decay: float
    alpha: float

    @property
    def rows(self) -> int:
        return len(self.champion)

    @property
    def needed(self) -> float:
        """Advantage, beyond the usual one, that explains the decay."""
        return SHARE * self.decay

    @property
    def z(self) -> float:
        """Quantile of the one-sided bounds, shared out over the comparisons."""
        return NormalDist().inv_cdf(1.0 - self.alpha / len(self.known))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One version against the champion on the same rows."""

    advantage: float
    usual: float
    """The advantage when the champion was accepted."""
    spread: float
    """Standard deviation of a row's difference."""
    p_value: float
    explains: bool
    """Better beyond chance, and by enough."""
    excluded: bool
    """Shown not to be better by enough."""

    @property
    def excess(self) -> float:
        """Advantage beyond the usual one."""
        return self.advantage - self.usual


def sign_flip(differences: bets.Floats) -> float:
    """Return the one-sided exact p-value of "the differences are as likely the other way round".

    It is the chance of a sum at least as large when every difference takes a fair coin for a sign,
    found by adding up the distribution of the positive part step by step.

    >>> round(sign_flip(np.array([1.0] * 8 + [-1.0] + [0.0] * 50)), 6)  # (9 + 1) / 2 ** 9
    0.019531
    """
    steps = np.rint(np.abs(differences) * RESOLUTION).astype(int)
    positive = int(steps[differences > 0].sum())
    steps = steps[steps > 0]
    if not len(steps):
        return 1.0
    unit = int(np.gcd.reduce(steps))
    chances = np.zeros(int(steps.sum()) // unit + 1)
    chances[0] = 1.0
    for step in steps // unit:
        flipped = np.zeros_like(chances)
        flipped[step:] = chances[:-step]
        chances = (chances + flipped) / 2.0
    return min(float(chances[positive // unit :].sum()), 1.0)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values so that those at most alpha are right together with chance 1 - alpha.

    >>> holm({"a": 0.04, "b": 0.01})
    {'b': 0.02, 'a': 0.04}
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(p_values[name] * (len(p_values) - rank), 1.0))
        adjusted[name] = largest
    return adjusted


def diagnose(
    champion: bets.Floats,
    parent: bets.Floats | None,
    previous: bets.Floats | None,
    *,
    decay: float,
    usual: Mapping[records.Cause, float] | None = None,
    rules: Rules | None = None,
) -> Diagnosis:
    """Find the cause of a champion's decay from its recent labelled rows, replayed.

    Parameters
    ----------
    champion
        Score of the champion on each row [rows], in [0, 1].
    parent
        The same rows answered by its dense parent; `None` where there is none (it is dense).
    previous
        The same rows answered by the previous champion; `None` where there was none. A version that
        exists but could not be replayed is an empty array, never `None`: it leaves the cause open.
    decay
        Accepted score minus the champion's score in the window. That it truly decays is the
        caller's finding (`monitoring.performance.ECusum`), not tested here.
    usual
        By how much the dense parent (`pruning`) and the previous champion (`release`) were better
        when the champion was accepted; 0 where nothing is known, or where they were not.
    rules
        What it takes; by default `Rules()`.

    Raises
    ------
    ValueError
        A replay has another number of rows than the champion's, or holds NaN.

    Examples
    --------
    >>> champion = np.array([1.0] * 70 + [0.0] * 30)
    >>> parent = np.array([1.0] * 95 + [0.0] * 5)
    >>> diagnosis = diagnose(champion, parent, None, decay=0.25)
    >>> diagnosis.cause
    'pruning'
    >>> print(diagnosis.reason)
    On the last 100 labelled rows the champion scores 70.0%, 25.0 points below what was accepted; \
its dense parent scores 25.0 points better (p < 0.0001). The cause is the pruning.
    """
    replays: dict[records.Cause, bets.Floats | None] = {"pruning": parent, "release": previous}
    known: dict[records.Cause, bets.Floats] = {
        cause: scores for cause, scores in replays.items() if scores is not None
    }
    rows = len(champion)
    unplayed: list[records.Cause] = [
        cause for cause, scores in known.items() if rows and not len(scores)
    ]
    if unplayed:
        names = " and ".join(NAMES[cause] for cause in unplayed)
        return Diagnosis("undecided", f"{names} could not be replayed, so the cause stays open")
    _check(champion, known)
    rules = rules or Rules()
    if rows < rules.min_labels:
        least = rules.min_labels
        reason = f"only {rows} labelled rows can be replayed, of the {least} that it takes"
        return Diagnosis("undecided", reason, labels_needed=least - rows)
    if decay <= 0.0:
        reason = f"on the last {rows} labelled rows the champion scores as well as when accepted"
        return Diagnosis("undecided", reason)
    return _conclude(_Case(champion, known, usual or {}, decay, rules.alpha))


def _check(champion: bets.Floats, known: Mapping[records.Cause, bets.Floats]) -> None:
    for cause, scores in known.items():
        if scores.shape != champion.shape:
            message = f"{NAMES[cause]} has {len(scores)} rows, the champion {len(champion)}"
            raise ValueError(message)
    for scores in (champion, *known.values()):
        if not ((scores >= 0.0) & (scores <= 1.0)).all():
            message = "scores lie in [0, 1]"
            raise ValueError(message)


def _conclude(case: _Case) -> Diagnosis:
    differences: dict[records.Cause, bets.Floats] = {
        cause: scores - case.champion for cause, scores in case.known.items()
    }
    adjusted = holm({cause: sign_flip(values) for cause, values in differences.items()})
    comparisons: dict[records.Cause, _Comparison] = {
        cause: _compare(values, adjusted[cause], case.usual.get(cause, 0.0), case)
        for cause, values in differences.items()
    }
    cause = _cause(comparisons)
    if all(found.explains for found in comparisons.values()) and _parent_is_worse(case):
        cause = "release"
    missing = _labels_missing(comparisons, case) if cause == "undecided" else 0
    return Diagnosis(
        cause=cause,
        reason=_reason(cause, comparisons, case, missing),
        p_values={cause: found.p_value for cause, found in comparisons.items()},
        advantages={cause: found.advantage for cause, found in comparisons.items()},
        labels_needed=missing,
        retreat="release" in comparisons and comparisons["release"].explains,
    )


def _compare(differences: bets.Floats, p_value: float, usual: float, case: _Case) -> _Comparison:
    advantage = float(differences.mean())
    usual = max(usual, 0.0)
    # "Plus four": two made-up rows in favour of each side keep the bound honest where few or no
    # rows differ (simulated error at most 1.5 alpha; without them 4 alpha).
    rows = case.rows + 4
    centre = float(differences.sum()) / rows
    spread = math.sqrt((float((differences**2).sum()) + 4.0) / rows - centre**2)
    error = case.z * spread / math.sqrt(rows)
    # The exact test is about no advantage at all; beyond a usual one the bound stands in for it.
    beyond_chance = p_value <= case.alpha and (not usual or centre - error > usual)
    return _Comparison(
        advantage=advantage,
        usual=usual,
        spread=spread,
        p_value=p_value,
        explains=beyond_chance and advantage - usual >= case.needed,
        excluded=centre + error - usual < case.needed,
    )


def _cause(comparisons: Mapping[records.Cause, _Comparison]) -> records.Cause:
    for cause in ("pruning", "release"):
        if cause in comparisons and comparisons[cause].explains:
            return cause
    return "world" if all(found.excluded for found in comparisons.values()) else "undecided"


def _parent_is_worse(case: _Case) -> bool:
    """Say whether the previous champion beats the dense parent by what explains the decay."""
    if len(case.known) < 2:
        return False
    differences = case.known["release"] - case.known["pruning"]
    usual = case.usual.get("release", 0.0) - case.usual.get("pruning", 0.0)
    return _compare(differences, sign_flip(differences), usual, case).explains


def _labels_missing(comparisons: Mapping[records.Cause, _Comparison], case: _Case) -> int:
    """Estimate the rows after which every open comparison is proven or excluded."""
    open_ones = [found for found in comparisons.values() if not found.explains | found.excluded]
    total = 0.0
    for found in open_ones:
        # An advantage next to the limit would never be told from it, so the distance has a floor.
        distance = max(abs(found.excess - case.needed), case.needed / 4.0)
        if found.excess >= case.needed:
            distance = found.excess
        total = max(total, (case.z * found.spread / distance) ** 2)
    return max(math.ceil(total) - case.rows, case.rows // 10, 1)


def _reason(
    cause: records.Cause,
    comparisons: Mapping[records.Cause, _Comparison],
    case: _Case,
    missing: int,
) -> str:
    figures = "; ".join(_figures(name, found) for name, found in comparisons.items())
    start = (
        f"On the last {case.rows} labelled rows the champion scores {case.champion.mean():.1%}, "
        f"{_points(case.decay)} below what was accepted; "
    )
    retreat = "release" in comparisons and comparisons["release"].explains
    ending = _ending(cause, missing, retreat=retreat)
    return start + (figures or "there is no other version to blame") + ending


def _figures(cause: records.Cause, found: _Comparison) -> str:
    if abs(found.advantage) < 0.0005:
        return f"{NAMES[cause]} scores the same"
    side = "better" if found.advantage > 0.0 else "worse"
    chance = "p < 0.0001" if found.p_value < 1e-4 else f"p = {found.p_value:.2g}"
    usual = (
        f", of which {_points(found.usual)} are usual"
        if found.usual >= 0.0005 < found.advantage
        else ""
    )
    return f"{NAMES[cause]} scores {_points(abs(found.advantage))} {side} ({chance}){usual}"


def _points(share: float) -> str:
    return f"{100.0 * share:.1f} points"


def _ending(cause: records.Cause, missing: int, *, retreat: bool) -> str:
    if cause == "undecided":
        return f". That leaves the cause open; about {missing} more labelled rows should tell."
    if cause == "world":
        return ". That explains less than half of it, so the cause is the world."
    if cause == "pruning" and retreat:
        return ". The cause is the pruning; going back to the previous champion helps at once."
    return f". The cause is the {cause}."
