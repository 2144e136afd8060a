from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from coppice.labels import Floats
from retrain.evaluate import intervals, weighted


def test_a_share_has_the_interval_of_the_reference() -> None:
    found = intervals.wilson(83, 90, confidence=0.9)
    expected = stats.binomtest(83, 90).proportion_ci(0.9, method="wilson")
    assert found == pytest.approx((83 / 90, expected.low, expected.high))


def test_no_error_in_few_rows_is_no_proof_of_perfection() -> None:
    # Without errors the lower end is n / (n + z^2).
    assert intervals.wilson(20, 20, confidence=0.95).low == pytest.approx(20 / (20 + 1.96**2), 1e-3)
    assert intervals.wilson(20, 20, confidence=0.95).high == 1.0


def test_the_published_example_of_two_independent_shares() -> None:
    # Newcombe 1998, table II, (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    first = intervals.wilson(56, 70, confidence=0.95)
    second = intervals.wilson(48, 80, confidence=0.95)
    found = intervals.newcombe(first, second)
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_samples_of_right_and_wrong_are_compared_as_shares() -> None:
    first, second = np.repeat([1.0, 0.0], [56, 14]), np.repeat([1.0, 0.0], [48, 32])
    found = intervals.difference(first, second, confidence=0.95)
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_other_samples_are_compared_by_their_means() -> None:
    first, second = np.array([1.5, 2.5] * 50), np.array([0.5, 1.5] * 50)
    found = intervals.difference(first, second, confidence=0.95)
    # Both variances are 0.25, so the error is sqrt(2 * 0.25 / 100) = 0.0707.
    assert found == pytest.approx((1.0, 1.0 - 1.96 * 0.0707, 1.0 + 1.96 * 0.0707), abs=1e-4)


def test_a_mirrored_interval_is_that_of_the_negative() -> None:
    assert intervals.Interval(0.1, -0.2, 0.3).mirrored() == (-0.1, -0.3, 0.2)
    assert str(intervals.Interval(0.0, 0.0, 0.0).mirrored().value) == "0.0"


def test_every_draw_has_as_many_rows_as_there_are() -> None:
    parts = list(intervals.draws(7, count=5, seed=1))
    assert np.concatenate(parts).sum(axis=1).tolist() == [7.0] * 5


def test_draws_are_made_in_pieces_that_memory_holds() -> None:
    parts = list(intervals.draws(1_500_000, count=2, seed=1))
    assert [part.shape for part in parts] == [(1, 1_500_000)] * 2


def test_the_same_seed_draws_the_same_rows() -> None:
    first, second = (next(intervals.draws(50, count=3, seed=4)) for _ in "ab")
    assert (first == second).all()
    assert (first != next(intervals.draws(50, count=3, seed=5))).any()


def test_every_row_is_as_likely_as_any_other() -> None:
    counts = np.concatenate(list(intervals.draws(4, count=2000, seed=0))).sum(axis=0)
    # 8000 throws on 4 rows: 2000 each, give or take four times sqrt(8000 * 3 / 16) = 39.
    assert np.abs(counts - 2000).max() < 4 * 39


def test_fewer_draws_are_made_where_rows_are_many() -> None:
    # 50 million over 20,000 rows of 10 classes are 250 draws.
    assert intervals.affordable(20_000, 10, wanted=1000) == 250
    assert intervals.affordable(200, 10, wanted=1000) == 1000
    assert intervals.affordable(10**9, 10, wanted=1000) == intervals.LEAST_DRAWS


def mean(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    return weighted.mae(answers, targets, weights)


def test_resampling_finds_the_error_of_a_mean() -> None:
    values = np.random.default_rng(3).exponential(size=400)
    drawn = intervals.resample(values, np.zeros(400), {"mean": mean}, count=4000, seed=0)["mean"]
    # The spread of a mean is that of one value over the root of the rows; 4000 draws know a spread
    # to 1 / sqrt(8000), four times which is 4.5%.
    assert drawn.std() == pytest.approx(values.std() / 20, rel=0.045)


def test_an_interval_holds_its_value_even_where_the_figure_is_biased() -> None:
    found = intervals.percentile(0.1, np.linspace(0.2, 0.4, 101), confidence=0.9)
    assert found == pytest.approx((0.1, 0.1, 0.39))


def covered(intervals_: list[intervals.Interval], truth: float) -> int:
    return sum(each.low <= truth <= each.high for each in intervals_)


@pytest.mark.parametrize(("share", "rows"), [(0.5, 30), (0.9, 60), (0.98, 200)])
def test_wilsons_interval_holds_the_truth_as_often_as_promised(share: float, rows: int) -> None:
    drawn = np.random.default_rng(0).binomial(rows, share, size=1000)
    found = [intervals.wilson(int(right), rows, confidence=0.95) for right in drawn]
    # On average 95%; for one share the score interval may fall to about 92%.
    assert covered(found, share) >= 915


def test_newcombes_interval_does_too() -> None:
    random = np.random.default_rng(1)
    training, holdout = random.binomial(300, 0.97, size=800), random.binomial(100, 0.9, size=800)
    found = [
        intervals.newcombe(
            intervals.wilson(int(first), 300, confidence=0.95),
            intervals.wilson(int(second), 100, confidence=0.95),
        )
        for first, second in zip(training, holdout, strict=True)
    ]
    # 95% of 800 is 760, with a spread of sqrt(800 * 0.05 * 0.95) = 6.2.
    assert covered(found, 0.07) >= 760 - 4 * 6.2


def test_the_bootstrap_of_a_paired_change_does_too() -> None:
    random = np.random.default_rng(2)
    # Two models share the difficulty of the rows; the second errs by 0.1 more on average.
    found = []
    for seed in range(200):
        shared = random.normal(size=120)
        first, second = shared, shared + random.normal(0.1, 0.5, size=120)
        drawn = [
            intervals.resample(given, np.zeros(120), {"mean": signed}, count=300, seed=seed)["mean"]
            for given in (first, second)
        ]
        change = float(second.mean() - first.mean())
        found.append(intervals.percentile(change, drawn[1] - drawn[0], confidence=0.95))
    # 95% of 200 is 190, with a spread of 3.1.
    assert covered(found, 0.1) >= 190 - 4 * 3.1
    # Unpaired, an interval would be wider by the difficulty of the rows: 4 * sqrt(2 / 120) = 0.52.
    assert max(each.high - each.low for each in found) < 0.3


def signed(answers: Floats, targets: Floats, weights: Floats) -> Floats:
    return np.asarray(weights @ (answers - targets) / weights.sum(axis=1))
