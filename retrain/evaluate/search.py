"""Which subset of the rows pays most: searched on one half, tested on the other.

Every condition and every pair of conditions is tried, all at once by matrix products, so nothing is
missed by greed. A subset is chosen by how far its mean drop lies above the whole's, times the root
of its rows (the mean test of subgroup discovery). What was chosen on one half of the rows looks
worse than it is; so the other half, which had no say, tests it. Then the halves change places. Each
half's few tests are corrected by Holm at half of the chance of a false alarm, so that the chance
that any subset is called harmed where none is stays below alpha.

A subset is harmed if it loses, and loses more than the other rows do. Both are tested, and the
less sure of the two counts: the first against the null that either model could have given either
answer (for classes that is McNemar's exact test), the second against the null that the lost rows
might lie anywhere. A loss that is spread evenly is no finding; the gates see it in the mean.

References
----------
Atzmueller, Subgroup discovery, WIREs Data Mining and Knowledge Discovery 5 (2015), 35-49.
Cox, A note on data-splitting for the evaluation of significance levels, Biometrika 62 (1975).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from coppice.labels import Floats
from retrain.evaluate import conditions, multiple, paired

Mask = npt.NDArray[np.bool_]

TESTED = 5
"""Subsets that each half proposes. More would cost power, fewer might miss a second fault."""
OVERLAP = 0.5
"""Subsets that share more of their rows than this are one finding; the better one stands for it."""
WORTH = 1.1
"""Two conditions must beat each alone by this factor, else the shorter name is kept."""
_DRAWS = 9999
"""Random arrangements behind a chance that is counted."""
_FEWER = 1999
"""The same where each arrangement costs as much as there are rows."""
_MANY = 1000
"""Rows from which on sums over random arrangements are taken as normal."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How to search.

    Attributes
    ----------
    smallest
        Rows that a subset must have; half of it in each half.
    margin
        Drop below which a subset is no finding, however sure it is.
    confidence
        One minus the chance of any false finding; also the level of the intervals.
    seed
        Of the halves and of flipped signs.
    """

    smallest: int
    margin: float
    confidence: float
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A subset that one half proposed, as the other half sees it.

    Attributes
    ----------
    conditions
        Places of one or two conditions.
    rows, drop
        Of the subset in both halves; this drop is too large, for it was chosen for it.
    comparison
        Drop and interval in the half that tests.
    elsewhere
        Mean drop of all rows outside the subset.
    chance
        Adjusted p-value.
    shown
        Whether this is a finding: sure enough, and not below the margin in the half that tests.
    """

    conditions: tuple[int, ...]
    rows: int
    drop: float
    comparison: paired.Comparison
    elsewhere: float
    chance: float
    shown: bool

    @property
    def tested(self) -> int:
        """Rows of the half that tests."""
        return self.comparison.rows


def find(
    known: Sequence[conditions.Condition], pairs: paired.Pairs, plan: Plan
) -> tuple[Found, ...]:
    """Return what each half proposes, tested on the other, the surest first.

    A subset that both propose is returned once, with the test that is surer.
    """
    rows = len(pairs.outcomes)
    if not known or rows < 2 * plan.smallest:
        return ()
    first = np.zeros(rows, dtype=np.bool_)
    first[np.random.default_rng(plan.seed).permutation(rows)[: rows // 2]] = True
    masks = np.stack([each.mask for each in known])
    families = [each.family for each in known]
    best: dict[tuple[int, ...], Found] = {}
    for half in (first, ~first):
        chosen = worst(
            masks[:, half], families, pairs.outcomes[half], smallest=-(-plan.smallest // 2)
        )
        for found in _tested(chosen, masks, pairs, ~half, plan):
            other = best.get(found.conditions)
            if other is None or found.chance < other.chance:
                best[found.conditions] = found
    return tuple(sorted(best.values(), key=lambda found: (found.chance, -found.drop)))


def worst(
    masks: Mask, families: Sequence[str], outcomes: Floats, *, smallest: int
) -> list[tuple[int, ...]]:
    """Return up to `TESTED` subsets, as places of one or two conditions, the worst first.

    Parameters
    ----------
    masks
        One for each condition, bool [conditions, rows].
    families
        Of each condition.
    outcomes
        Score lost, row by row [rows].
    """
    scores = _qualities(masks, families, outcomes, smallest)
    above = scores[np.triu_indices(len(masks))]
    places = list(itertools.combinations_with_replacement(range(len(masks)), 2))
    # A stable sort keeps the order of equals, which is that of the conditions.
    order = np.argsort(-above, kind="stable")
    chosen: list[tuple[tuple[int, ...], Mask]] = []
    for place in order[: 200 * TESTED]:
        if above[place] <= 0.0 or len(chosen) == TESTED:
            break
        pair = tuple(sorted(set(places[place])))
        rows = _joined(masks, pair)
        if all(_overlap(rows, other) <= OVERLAP for _, other in chosen):
            chosen.append((pair, rows))
    return [pair for pair, _ in chosen]


def swapped(outcomes: Floats, *, seed: int) -> float:
    """Return the chance of a loss as large where swapping the two models changes nothing.

    The sign of each outcome is then a coin; for outcomes of -1, 0 and 1 the chance is McNemar's,
    exactly; for others it is counted, or taken from the normal limit for many rows.

    >>> swapped(np.array([1.0, 1.0, 1.0, 0.0]), seed=0)  # three coins show heads
    0.125
    """
    lost, gained = int((outcomes > 0).sum()), int((outcomes < 0).sum())
    if lost + gained == 0:
        return 1.0
    if _whole(outcomes):
        return float(stats.binom.sf(lost - 1, lost + gained, 0.5))
    if len(outcomes) > _MANY:
        return float(stats.norm.sf(outcomes.sum() / math.sqrt(float((outcomes**2).sum()))))
    coins = np.random.default_rng(seed).integers(0, 2, size=(_FEWER, len(outcomes))) * 2 - 1
    return _counted(coins @ outcomes, outcomes.sum())


def scattered(outcomes: Floats, inside: Mask, *, seed: int) -> float:
    """Return the chance of a loss as large inside if the same outcomes lay on any of the rows.

    It is counted over random subsets of as many rows, or taken from the normal limit for many rows.

    >>> outcomes, inside = np.repeat([1.0, 0.0], [4, 96]), np.arange(100) < 10
    >>> scattered(outcomes, inside, seed=0) < 0.001
    True
    """
    rows, size, total = len(outcomes), int(inside.sum()), outcomes[inside].sum()
    generator = np.random.default_rng(seed)
    if _whole(outcomes):
        kinds = [int((outcomes == kind).sum()) for kind in (-1.0, 0.0, 1.0)]
        drawn = generator.multivariate_hypergeometric(kinds, size, size=_DRAWS)
        return _counted(drawn[:, 2] - drawn[:, 0], total)
    if rows > _MANY:
        spread = math.sqrt(size * (rows - size) / (rows - 1) * float(outcomes.var()))
        excess = total - size * float(outcomes.mean())
        return float(stats.norm.sf(excess / spread)) if spread > 0 else 1.0
    places = np.argpartition(generator.random((_FEWER, rows)), size - 1, axis=1)[:, :size]
    return _counted(outcomes[places].sum(axis=1), total)


def _whole(outcomes: Floats) -> bool:
    return bool(np.isin(outcomes, (-1.0, 0.0, 1.0)).all())


def _counted(drawn: npt.NDArray[np.number[Any]], total: float) -> float:
    # The arrangement that was seen counts as one of them, so that no chance is ever nought.
    return (1 + int((drawn >= total - 1e-12).sum())) / (1 + len(drawn))


def chance(outcomes: Floats, inside: Mask, *, seed: int) -> float:
    """Return the chance of what is inside under the likelier of the two nulls."""
    return max(swapped(outcomes[inside], seed=seed), scattered(outcomes, inside, seed=seed))


def least_losses(confidence: float) -> int:
    """Return the rows that a subset must lose in the half that tests, none gained, to be shown.

    >>> least_losses(0.95)  # 5 tests in 2 halves: 2**-8 * 10 is below 0.05, 2**-7 * 10 is not
    8
    """
    return math.ceil(math.log2(2 * TESTED / (1.0 - confidence)))


def _qualities(masks: Mask, families: Sequence[str], outcomes: Floats, smallest: int) -> Floats:
    """Score all pairs [conditions, conditions]; the diagonal is each condition alone."""
    inside = masks.astype(np.float64)
    rows = inside @ inside.T
    means = (inside * outcomes) @ inside.T / np.maximum(rows, 1.0)
    scores = (means - outcomes.mean()) * np.sqrt(rows)
    scores[(rows < smallest) | (means <= 0.0)] = 0.0
    alone = np.diag(scores).copy()
    names = np.asarray(families)
    useless = (names[:, None] == names) | (scores < WORTH * np.maximum(alone[:, None], alone))
    scores[useless] = 0.0
    np.fill_diagonal(scores, alone)
    return np.asarray(scores)


def _joined(masks: Mask, places: tuple[int, ...]) -> Mask:
    return np.asarray(masks[list(places)].all(axis=0))


def _overlap(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))


def _tested(
    chosen: list[tuple[int, ...]], masks: Mask, pairs: paired.Pairs, half: Mask, plan: Plan
) -> list[Found]:
    inside = {each: _joined(masks, each) for each in chosen}
    there = {
        each: rows
        for each, rows in inside.items()
        if rows[half].any() and int(rows.sum()) >= plan.smallest
    }
    tested = pairs.take(half)
    chances = multiple.holm(
        {each: chance(tested.outcomes, rows[half], seed=plan.seed) for each, rows in there.items()}
    )
    found = []
    for each, rows in there.items():
        # Each half has half of alpha, which is to double what it finds.
        doubled = min(1.0, 2.0 * chances[each])
        compared = paired.compare(
            tested.take(rows[half]), confidence=plan.confidence, seed=plan.seed
        )
        found.append(
            Found(
                conditions=each,
                rows=int(rows.sum()),
                drop=float(pairs.outcomes[rows].mean()),
                comparison=compared,
                elsewhere=float(pairs.outcomes[~rows].mean()),
                chance=doubled,
                shown=doubled <= 1.0 - plan.confidence and compared.drop >= plan.margin,
            )
        )
    return found
