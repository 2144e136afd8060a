from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.evaluate import paired


def pairs(lost: int, gained: int, ties: int) -> paired.Pairs:
    outcomes = np.array([1.0] * lost + [-1.0] * gained + [0.0] * ties)
    return paired.Pairs(outcomes=outcomes, divergence=np.abs(outcomes))


def test_the_score_interval_matches_the_published_example() -> None:
    # Fagerland, Lydersen, Laake (2014), airway hyper-responsiveness: 1 and 7 of 21 pairs differ;
    # Tango's asymptotic score interval is printed as -0.517 to -0.026.
    low, high = paired.tango(1, 7, 21, confidence=0.95)
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)


def test_equal_answers_still_leave_doubt() -> None:
    low, high = paired.tango(0, 0, 100, confidence=0.95)
    # With nothing differing the statistic is sqrt(n) * d / sqrt(d (1 - d)) up to sign, so
    # d = z^2 / (n + z^2) = 3.8415 / 103.8415.
    assert high == pytest.approx(0.036994, abs=1e-6)
    assert low == pytest.approx(-high)


def test_losing_every_row_is_an_interval_that_ends_at_one() -> None:
    low, high = paired.tango(50, 0, 50, confidence=0.95)
    assert 0.85 < low < 1.0
    assert high == pytest.approx(1.0)


@given(lost=st.integers(0, 40), gained=st.integers(0, 40), ties=st.integers(1, 400))
def test_the_interval_holds_the_drop_and_mirrors_when_the_sides_swap(
    lost: int, gained: int, ties: int
) -> None:
    rows = lost + gained + ties
    low, high = paired.tango(lost, gained, rows, confidence=0.95)
    assert low <= (lost - gained) / rows <= high
    mirrored = paired.tango(gained, lost, rows, confidence=0.95)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_a_higher_confidence_widens_the_interval() -> None:
    narrow = paired.tango(9, 3, 300, confidence=0.8)
    wide = paired.tango(9, 3, 300, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_nineteen_in_twenty_intervals_hold_the_true_drop() -> None:
    generator = np.random.default_rng(0)
    # 400 holdouts of 300 rows: 4% lost, 2% gained, so the true drop is 0.02.
    draws = generator.multinomial(300, [0.04, 0.02, 0.94], size=400)
    ends = [paired.tango(lost, gained, 300, confidence=0.95) for lost, gained, _ in draws]
    held = np.mean([low <= 0.02 <= high for low, high in ends])
    # Expected 0.95 with standard error sqrt(0.95 * 0.05 / 400) = 0.011; three of them either way.
    assert 0.917 <= held <= 0.983


def test_a_comparison_counts_new_errors_and_fixed_ones_apart() -> None:
    found = paired.compare(pairs(lost=6, gained=2, ties=92), confidence=0.95)
    assert found.rows == 100
    assert found.drop == pytest.approx(0.04)
    assert (found.new_errors, found.fixed) == (0.06, 0.02)
    assert found.disagreement == pytest.approx(0.08)
    assert found.low < 0.04 < found.high


def test_answers_that_differ_but_are_both_wrong_are_a_disagreement_without_a_loss() -> None:
    reference = np.array([[0.9, 0.1, 0.0]])
    candidate = np.array([[0.1, 0.9, 0.0]])
    found = paired.pair(reference, candidate, np.array([2.0]), task="multiclass")
    assert found.outcomes.tolist() == [0.0]
    assert found.divergence.tolist() == [1.0]


def test_a_regression_is_bootstrapped_repeatably() -> None:
    reference = np.array([1.0, 2.0, 3.0, 4.0])
    candidate = np.array([1.5, 2.25, 3.0, 4.5])
    outcomes = paired.pair(reference, candidate, reference, task="regression", scale=1.0)
    first = paired.compare(outcomes, confidence=0.9, seed=3)
    assert first == paired.compare(outcomes, confidence=0.9, seed=3)
    # Lost 0.5, 0.25, 0 and 0.5: a mean of 0.3125, and no resample leaves [0, 0.5].
    assert first.drop == pytest.approx(0.3125)
    assert 0.0 <= first.low < first.drop < first.high <= 0.5
