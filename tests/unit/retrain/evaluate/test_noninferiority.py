from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from coppice.labels import Floats
from retrain.evaluate import noninferiority, paired


def outcomes(lost: int, gained: int, rows: int) -> Floats:
    return np.repeat([1.0, -1.0, 0.0], [lost, gained, rows - lost - gained])


def judge(*slices: Floats, min_rows: int = 30) -> list[str]:
    joined = np.concatenate(slices)
    owner = np.repeat(np.arange(len(slices)), [len(each) for each in slices])
    found = noninferiority.judge(
        paired.Pairs(outcomes=joined, divergence=joined),
        {str(index): owner == index for index in range(len(slices))},
        margin=0.05,
        confidence=0.95,
        min_rows=min_rows,
    )
    return [each.state for each in found.values()]


def test_the_three_states_and_the_slices_that_are_too_small() -> None:
    states = judge(outcomes(2, 2, 400), outcomes(80, 0, 400), outcomes(3, 0, 40), outcomes(9, 0, 9))
    assert states == ["no worse", "worse", "open", "too few rows"]


def test_few_rows_without_any_loss_prove_nothing() -> None:
    assert judge(outcomes(0, 0, 40)) == ["open"]
    assert judge(outcomes(0, 0, 100)) == ["no worse"]


def test_more_slices_need_surer_ones() -> None:
    # Tango's statistic of 0 of 70 at 0.05 has chance 0.028: enough alone, not among two.
    alone = noninferiority.chances(outcomes(0, 0, 70), 0.05)[0]
    assert 0.025 < alone < 0.05
    assert judge(outcomes(0, 0, 70)) == ["no worse"]
    assert judge(outcomes(0, 0, 70), outcomes(4, 0, 70)) == ["open", "open"]


def test_a_small_slice_costs_the_others_nothing() -> None:
    assert judge(outcomes(0, 0, 70), outcomes(4, 0, 20)) == ["no worse", "too few rows"]


def test_a_slice_without_rows_is_left_out() -> None:
    pairs = paired.Pairs(outcomes=np.zeros(3), divergence=np.zeros(3))
    named = {"none": np.zeros(3, dtype=np.bool_)}
    assert noninferiority.judge(pairs, named, margin=0.05, confidence=0.95, min_rows=1) == {}


def test_the_chances_agree_with_the_interval() -> None:
    found = outcomes(9, 3, 120)
    low, high = paired.interval(found, confidence=0.9)
    # An end of the 90% interval is the margin at which a one-sided chance is 5%.
    assert noninferiority.chances(found, high)[0] == pytest.approx(0.05, abs=1e-6)
    assert noninferiority.chances(found, low)[1] == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(("margin", "slices"), [(0.05, 1), (0.05, 12), (0.1, 4), (0.01, 2)])
def test_the_rows_that_are_needed_are_just_enough(margin: float, slices: int) -> None:
    needed = noninferiority.rows_needed(margin, slices=slices, confidence=0.95)
    enough, _ = noninferiority.chances(np.zeros(needed), margin)
    too_few, _ = noninferiority.chances(np.zeros(needed - 1), margin)
    assert enough <= 0.05 / slices < too_few


def test_no_number_of_rows_shows_a_margin_of_nought() -> None:
    assert noninferiority.rows_needed(0.0, slices=3, confidence=0.95) == 0


def test_a_harmful_slice_is_called_fine_no_more_often_than_promised() -> None:
    # Just at the margin: 5% of 200 rows lost. A thousand such slices, each judged alone, are called
    # fine with chance 5%: 50, give or take four times sqrt(1000 * 0.05 * 0.95) = 7.
    random = np.random.default_rng(0)
    lost = random.binomial(200, 0.05, size=1000)
    fine = sum(
        noninferiority.chances(outcomes(int(each), 0, 200), 0.05)[0] <= 0.05 for each in lost
    )
    assert fine <= 50 + 4 * 7


def test_a_regression_is_judged_by_students_t() -> None:
    values = np.random.default_rng(0).normal(0.02, 0.1, size=50)
    expected = stats.ttest_1samp(values, 0.05, alternative="less").pvalue
    assert noninferiority.chances(values, 0.05) == pytest.approx((expected, 1.0 - expected))


def test_equal_rows_of_a_regression_prove_nothing() -> None:
    # The error is taken as 1 / rows, so ten rows lie half an error below the margin.
    no_worse, _ = noninferiority.chances(np.full(10, 0.0001), 0.05)
    assert no_worse == pytest.approx(stats.t.cdf(-0.499, 9), abs=1e-6)
    assert noninferiority.chances(np.array([0.2]), 0.05) == (0.5, 0.5)
