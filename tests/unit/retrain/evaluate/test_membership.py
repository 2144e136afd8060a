from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import special
from sklearn import metrics as reference

from coppice.labels import Floats
from retrain.evaluate import membership

RANDOM = np.random.default_rng(0)
MEMBERS, OTHERS = RANDOM.normal(0.4, 1.0, 200), RANDOM.normal(0.0, 1.0, 150)
SCORES = membership.Scores(MEMBERS, OTHERS)


def test_the_area_is_the_one_that_scikit_learn_finds() -> None:
    truth = np.repeat([1, 0], [200, 150])
    expected = reference.roc_auc_score(truth, np.concatenate([MEMBERS, OTHERS]))
    assert membership.auc(SCORES, confidence=0.95).value == pytest.approx(expected, abs=1e-12)


def test_ties_count_half() -> None:
    same = membership.Scores(np.ones(4), np.ones(3))
    assert membership.auc(same, confidence=0.95).value == 0.5


def test_the_interval_has_the_width_that_resampling_finds() -> None:
    random = np.random.default_rng(1)
    areas = [
        membership.auc(
            membership.Scores(random.choice(MEMBERS, 200), random.choice(OTHERS, 150)),
            confidence=0.95,
        ).value
        for _ in range(400)
    ]
    found = membership.auc(SCORES, confidence=0.95)
    low, high = np.quantile(areas, [0.025, 0.975])
    # 400 draws know an end to about a hundredth.
    assert found.low == pytest.approx(low, abs=0.012)
    assert found.high == pytest.approx(high, abs=0.012)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    # Normal scores a half apart: the area is Phi(0.5 / sqrt 2).
    truth = float(special.ndtr(0.5 / np.sqrt(2.0)))
    found = [
        membership.auc(
            membership.Scores(random.normal(0.5, 1, 100), random.normal(0, 1, 100)),
            confidence=0.9,
        )
        for _ in range(500)
    ]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    # 500 trials at 0.9 have a standard error of 0.013.
    assert covered == pytest.approx(0.9, abs=0.04)


def test_a_model_rises_over_itself_by_nothing() -> None:
    assert membership.auc_rise(SCORES, SCORES, confidence=0.95) == (0.0, 0.0, 0.0)


def test_models_that_err_alike_are_told_apart_more_surely_than_by_two_intervals() -> None:
    worse = membership.Scores(MEMBERS + 0.1, OTHERS)
    rise = membership.auc_rise(SCORES, worse, confidence=0.95)
    first, second = (membership.auc(each, confidence=0.95) for each in (SCORES, worse))
    assert rise.value == pytest.approx(second.value - first.value)
    assert rise.low > 0.0
    assert second.low < first.high


def test_the_accused_are_those_above_all_but_one_in_a_hundred() -> None:
    others = np.arange(200.0)
    # Two of 200 may be accused wrongly, 199 and 198; a member has to exceed 197.
    found = membership.accused(membership.Scores(np.array([197.0, 197.5, 300.0]), others))
    assert found.tolist() == [False, True, True]
    assert (others > 197).sum() == 2


def test_among_fewer_than_a_hundred_others_none_may_be_accused() -> None:
    found = membership.accused(membership.Scores(np.array([50.0, 51.0]), np.arange(51.0)))
    assert found.tolist() == [False, True]


def test_a_share_has_its_exact_interval() -> None:
    hits = np.repeat([True, False], [5, 95])
    # Clopper and Pearson's ends are quantiles of beta distributions.
    low, high = special.betaincinv(5, 96, 0.025), special.betaincinv(6, 95, 0.975)
    assert membership.share(hits, confidence=0.95) == pytest.approx((0.05, low, high))


def test_the_log_odds_order_rows_as_the_loss_does() -> None:
    logits = RANDOM.normal(0, 3, (100, 5))
    targets = RANDOM.integers(0, 5, 100)
    losses = special.logsumexp(logits, axis=1) - logits[np.arange(100), targets]
    found = membership.confidence_scores(logits, targets)
    assert np.array_equal(np.argsort(found), np.argsort(-losses))


def test_two_very_sure_answers_are_no_tie() -> None:
    logits = np.array([[80.0, 0.0], [90.0, 0.0]], dtype=np.float32)
    assert membership.confidence_scores(logits, np.array([0, 0])).tolist() == [80.0, 90.0]


def test_the_curve_goes_from_nothing_to_everything_and_never_back() -> None:
    found = np.array(membership.curve(SCORES))
    assert found[0].tolist() == [0.0, 0.0]
    assert found[-1].tolist() == [1.0, 1.0]
    assert (np.diff(found, axis=0) >= 0).all()


SMALL = arrays.arrays(np.float64, st.integers(2, 12), elements=st.integers(-4, 4).map(float))


@given(SMALL, SMALL)
def test_the_area_counts_pairs(members: Floats, others: Floats) -> None:
    pairs = np.sign(members[:, np.newaxis] - others) / 2.0 + 0.5
    found = membership.auc(membership.Scores(members, others), confidence=0.95)
    assert found.value == pytest.approx(pairs.mean())
    assert 0.0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1.0


@given(SMALL, SMALL)
def test_exchanging_members_and_others_mirrors_the_area(members: Floats, others: Floats) -> None:
    here = membership.auc(membership.Scores(members, others), confidence=0.95)
    there = membership.auc(membership.Scores(others, members), confidence=0.95)
    assert here.value == pytest.approx(1.0 - there.value)
    assert here.low == pytest.approx(1.0 - there.high)


@given(SMALL, SMALL)
def test_the_area_does_not_hang_on_the_scale_of_the_scores(members: Floats, others: Floats) -> None:
    plain = membership.Scores(members, others)
    bent = membership.Scores(np.exp(members), np.exp(others))
    assert membership.auc(plain, confidence=0.9) == membership.auc(bent, confidence=0.9)
    assert membership.accused(plain).tolist() == membership.accused(bent).tolist()


@given(SMALL, SMALL, SMALL)
def test_a_rise_is_the_fall_of_the_other_way_round(
    members: Floats, others: Floats, noise: Floats
) -> None:
    before = membership.Scores(members, others)
    after = membership.Scores(members + noise[0], others)
    rise = membership.auc_rise(before, after, confidence=0.95)
    fall = membership.auc_rise(after, before, confidence=0.95)
    assert rise.value == pytest.approx(-fall.value)
    assert rise.low == pytest.approx(-fall.high)


@given(st.integers(0, 2**32 - 1))
def test_no_more_than_one_in_a_hundred_others_is_ever_accused(seed: int) -> None:
    others = np.random.default_rng(seed).normal(size=350).round(1)
    found = membership.accused(membership.Scores(others, others))
    # Rounded to a tenth there are ties; three of 350 are allowed.
    assert found.sum() <= 3


def test_rows_that_were_never_learned_are_found_no_more_often_than_by_chance() -> None:
    random = np.random.default_rng(4)
    found = [
        membership.share(
            membership.accused(membership.Scores(random.normal(size=400), random.normal(size=400))),
            confidence=0.95,
        ).value
        for _ in range(200)
    ]
    # Above the fourth largest of 400 others lies on average (4 + 0.5) / 401 of the same kind.
    assert np.mean(found) == pytest.approx(5 / 401, abs=0.002)
