from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy import stats

from coppice.labels import Floats
from retrain.evaluate import answers, conditions, paired, search
from tests.support import subjects

PLAN = search.Plan(smallest=20, margin=0.01, confidence=0.95, seed=0)


def condition(family: str, mask: np.ndarray) -> conditions.Condition:  # type: ignore[type-arg]
    return conditions.Condition(family=family, words=family, mask=mask)


def pairs(outcomes: Floats) -> paired.Pairs:
    return paired.Pairs(outcomes=outcomes, divergence=np.abs(outcomes))


@functools.cache
def scans() -> tuple[tuple[conditions.Condition, ...], paired.Pairs]:
    """Conditions on real scans, and what really changed from dense parent to candidate."""
    subject = subjects.scans()
    holdout = subject.data.holdout
    asked = answers.ask(subject, holdout)
    changed = paired.pair(
        asked["parent"], asked["candidate"], answers.targets(holdout), task="multiclass"
    )
    known = conditions.conditions(
        holdout, subject.data.classes, witness=("null control", asked["null"])
    )
    return known, changed


def test_a_harmed_pair_of_conditions_is_found_among_real_ones() -> None:
    known, _ = scans()
    pen = next(each.mask for each in known if each.words == "pen is lead")
    ones = next(each.mask for each in known if each.words == "class is 1")
    outcomes = np.where(pen & ones, 1.0, 0.0)
    first = search.find(known, pairs(outcomes), PLAN)[0]
    assert {known[place].words for place in first.conditions} == {"pen is lead", "class is 1"}
    assert first.shown
    assert first.drop == first.comparison.drop == 1.0
    assert first.elsewhere == 0.0
    assert first.tested < first.rows == int((pen & ones).sum())


def test_a_finding_is_borne_out_by_rows_that_did_not_propose_it() -> None:
    known, _ = scans()
    harmed = next(each.mask for each in known if each.words == "class is 1")
    first = search.find(known, pairs(np.where(harmed, 1.0, 0.0)), PLAN)[0]
    # All tested rows are lost: each a coin that shows heads. Nothing else was proposed that keeps
    # more than half of its rows apart, so a few tests in two halves share the chance.
    assert first.chance <= 2 * search.TESTED * max(0.5**first.tested, 1e-4)


def test_a_loss_that_is_spread_evenly_is_no_finding() -> None:
    known, changed = scans()
    even = np.zeros(len(changed.outcomes))
    even[np.random.default_rng(0).permutation(900)[:180]] = 1.0
    assert not any(each.shown for each in search.find(known, pairs(even), PLAN))


def test_where_nothing_is_harmed_findings_are_as_rare_as_promised() -> None:
    known, changed = scans()
    random = np.random.default_rng(5)
    worlds = 80
    alarms = sum(
        any(each.shown for each in search.find(known, pairs(flipped), PLAN))
        for flipped in changed.outcomes * random.choice([-1.0, 1.0], size=(worlds, 900))
    )
    # At most 5% of 80 clean worlds; more than this many would come once in a thousand suites.
    assert alarms <= stats.binom.ppf(0.999, worlds, 0.05)


def test_below_the_margin_nothing_is_a_finding() -> None:
    known = [condition("a", np.arange(400) < 200)]
    small = pairs(np.where(np.arange(400) < 200, 0.004, -0.001) + np.linspace(0, 1e-4, 400))
    assert search.find(known, small, PLAN)[0].chance < 0.05
    assert not search.find(known, small, PLAN)[0].shown


def test_subsets_below_the_smallest_size_are_not_named() -> None:
    harmed = np.arange(400) < 19
    assert search.find([condition("a", harmed)], pairs(np.where(harmed, 1.0, 0.0)), PLAN) == ()


def test_too_few_rows_are_not_searched() -> None:
    assert search.find([condition("a", np.arange(30) < 20)], pairs(np.ones(30)), PLAN) == ()
    assert search.find([], pairs(np.ones(300)), PLAN) == ()


def test_the_worst_comes_first_and_what_overlaps_it_is_left_out() -> None:
    rows = np.arange(100)
    masks = np.stack([rows < 10, rows < 12, (rows >= 20) & (rows < 40)])
    outcomes = np.where(rows < 10, 1.0, np.where(masks[2], 0.5, 0.0))
    # Against the mean of 0.2: 0.8 * sqrt(10) = 2.5, and 0.3 * sqrt(20) = 1.3. The second mask
    # holds ten twelfths of the rows of the first.
    found = search.worst(masks, ["a", "b", "c"], outcomes, smallest=5)
    assert found == [(0,), (2,)]


def test_two_conditions_must_beat_each_alone() -> None:
    rows = np.arange(100)
    masks = np.stack([rows < 20, rows < 80])
    outcomes = np.where(rows < 20, 1.0, 0.0)
    # Joined they hold the rows of the first alone.
    assert search.worst(masks, ["a", "b"], outcomes, smallest=5)[0] == (0,)


def test_two_conditions_of_one_family_are_never_joined() -> None:
    rows = np.arange(100)
    masks = np.stack([rows < 40, rows >= 30])
    outcomes = np.where((rows >= 30) & (rows < 40), 1.0, 0.0)
    joined = search.worst(masks, ["a", "b"], outcomes, smallest=5)
    apart = search.worst(masks, ["a", "a"], outcomes, smallest=5)
    assert joined[0] == (0, 1)
    assert (0, 1) not in apart


def test_a_subset_that_gains_is_never_proposed() -> None:
    outcomes = np.where(np.arange(100) < 50, -0.1, -0.5)
    assert search.worst(np.array([np.arange(100) < 50]), ["a"], outcomes, smallest=5) == []


@pytest.mark.parametrize(
    ("lost", "gained", "expected"),
    # Heads in so many throws: C(3,3)/8; (C(4,3) + C(4,4))/16; certain; certain.
    [(3, 0, 1 / 8), (3, 1, 5 / 16), (0, 4, 1.0), (0, 0, 1.0)],
)
def test_swapped_classes_are_coins(lost: int, gained: int, expected: float) -> None:
    outcomes = np.repeat([1.0, -1.0, 0.0], [lost, gained, 10])
    assert search.swapped(outcomes, seed=0) == pytest.approx(expected)


def test_swapped_values_are_counted() -> None:
    # Of the 8 ways to choose signs only one sum is as large; 1999 throws know it to 2 points.
    assert search.swapped(np.array([0.5, 0.25, 0.3]), seed=0) == pytest.approx(1 / 8, abs=0.03)


def test_many_swapped_values_are_taken_as_normal() -> None:
    outcomes = np.full(1600, 0.5) * np.repeat([1.0, -1.0], [840, 760])
    # The sum is 40, its spread sqrt(1600 * 0.25) = 20: two standard deviations.
    assert search.swapped(outcomes, seed=0) == pytest.approx(0.02275, abs=1e-4)


def test_lost_rows_that_lie_inside_by_chance_are_hypergeometric() -> None:
    outcomes, inside = np.repeat([1.0, 0.0], [5, 95]), np.arange(100) >= 2
    inside[30:] = False
    # Three of the five lost rows among 28 of 100; 9999 draws know it to a point and a half.
    expected = stats.hypergeom.sf(2, 100, 5, 28)
    assert search.scattered(outcomes, inside, seed=0) == pytest.approx(expected, abs=0.015)


def test_scattered_values_are_counted_or_taken_as_normal() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    inside = np.arange(2000) < 200
    many = search.scattered(values, inside, seed=0)
    expected = stats.ttest_ind(values[:200], values[200:], alternative="greater").pvalue
    assert many == pytest.approx(expected, abs=0.01)
    few = search.scattered(values[100:300], inside[100:300], seed=0)
    expected = stats.ttest_ind(values[100:200], values[200:300], alternative="greater").pvalue
    assert few == pytest.approx(expected, abs=0.05)


def test_the_less_sure_of_the_two_questions_counts() -> None:
    everywhere = np.ones(60)
    assert search.chance(everywhere, np.arange(60) < 20, seed=0) == 1.0
    assert search.swapped(everywhere[:20], seed=0) == pytest.approx(0.5**20)


@pytest.mark.parametrize("rate", [0.5, 0.8])
def test_a_loss_in_half_of_eighty_rows_is_found_nearly_always(rate: float) -> None:
    known, changed = scans()
    harmed = next(each.mask for each in known if each.words == "class is 1")
    random = np.random.default_rng(3)
    worlds = 10
    found = 0
    for _ in range(worlds):
        flipped = changed.outcomes * random.choice([-1.0, 1.0], size=900)
        outcomes = np.where(harmed & (random.random(900) < rate), 1.0, flipped)
        found += search.find(known, pairs(outcomes), PLAN)[0].shown
    # 40 rows of the class test; 20 and more of them are lost, of which 8 would do.
    assert found >= worlds - 1


def test_other_halves_may_be_drawn() -> None:
    known, changed = scans()
    other = search.Plan(smallest=20, margin=0.01, confidence=0.95, seed=1)
    first = search.find(known, changed, PLAN)
    assert first != search.find(known, changed, other)
    again = search.find(known, changed, PLAN)
    assert [each.conditions for each in again] == [each.conditions for each in first]


def test_the_surest_proposal_comes_first() -> None:
    known, changed = scans()
    chances = [each.chance for each in search.find(known, changed, PLAN)]
    assert chances == sorted(chances)
    assert all(0.0 < chance <= 1.0 for chance in chances)


def test_a_stricter_confidence_needs_more_lost_rows() -> None:
    # 2^-k * 10 at most alpha: k of log2(10 / 0.01) = 9.97, and of log2(10 / 0.1) = 6.6.
    assert search.least_losses(0.99) == 10
    assert search.least_losses(0.9) == 7


def test_so_many_lost_rows_are_indeed_what_it_takes() -> None:
    least = search.least_losses(0.95)
    tests = 2 * search.TESTED
    assert search.swapped(np.ones(least), seed=0) * tests <= 0.05
    assert search.swapped(np.ones(least - 1), seed=0) * tests > 0.05
