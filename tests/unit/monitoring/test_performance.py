from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import bets, performance
from monitoring.performance import ECusum

RUNS = 200
THRESHOLD = 100.0


def run_lengths(rate: float, alarm: ECusum, longest: int, wrong: float = 0.0) -> np.ndarray:
    """Labels until the alarm in each of many runs, cut off at the longest.

    Scores are 1 at the given rate, else `wrong`.
    """
    rng = np.random.default_rng(0)
    right = rng.random((RUNS, longest)) < rate
    return np.array([_length(np.where(run, 1.0, wrong).tolist(), alarm) for run in right])


def _length(scores: list[float], alarm: ECusum) -> int:
    states = itertools.accumulate(scores, ECusum.add, initial=alarm)
    return next((state.count for state in states if state.fired), len(scores))


class TestWilson:
    def test_it_gives_the_textbook_interval(self) -> None:
        # 8 of 10 at 95%: (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n) with z = 1.95996:
        # (0.8 + 0.19207 -+ 1.95996 sqrt(0.016 + 0.0096)) / 1.38415 = (0.9921 -+ 0.3136) / 1.38415.
        low, high = performance.wilson(8, 10)
        assert low == pytest.approx(0.4902, abs=5e-4)
        assert high == pytest.approx(0.9433, abs=5e-4)

    def test_nothing_wrong_still_leaves_room_below(self) -> None:
        # With p = 1 the low end is n / (n + z2) = 50 / 53.84.
        low, high = performance.wilson(50, 50)
        assert low == pytest.approx(50 / (50 + 1.959964**2))
        assert high == pytest.approx(1.0)

    def test_without_observations_anything_is_possible(self) -> None:
        assert performance.wilson(0, 0) == (0.0, 1.0)

    @given(st.integers(1, 10_000), st.floats(0.0, 1.0), st.floats(0.5, 0.999))
    def test_it_holds_the_mean_and_stays_within_zero_and_one(
        self, n: int, share: float, level: float
    ) -> None:
        low, high = performance.wilson(share * n, n, level)
        assert 0.0 <= low <= share + 1e-12
        assert share - 1e-12 <= high <= 1.0

    def test_it_covers_fractional_scores_at_least_as_often_as_it_says(self) -> None:
        # Means of 40 uniform scores around 0.5: far less spread than coin flips of the same mean.
        # Of 2,000 intervals 95% are promised; three standard errors below is 93.5%.
        means = np.random.default_rng(0).random((2000, 40)).mean(axis=1)
        intervals = [performance.wilson(mean * 40, 40) for mean in means.tolist()]
        covered = np.mean([low <= 0.5 <= high for low, high in intervals])
        assert covered >= 0.935


class TestLiveScore:
    def test_equally_likely_labels_give_the_plain_mean(self) -> None:
        score = performance.live_score([1.0, 0.0, 1.0, 1.0])
        assert score == (0.75, *performance.wilson(3, 4), 4)

    def test_rows_weigh_by_the_inverse_of_their_chance_to_be_labelled(self) -> None:
        # 90 agreeing rows of which a tenth was labelled (all right), and 10 disagreeing rows that
        # all were (half right): the truth is 95 of 100, the plain mean 14 of 19.
        scores = [1.0] * 9 + [1.0] * 5 + [0.0] * 5
        chances = [0.1] * 9 + [1.0] * 10
        assert performance.live_score(scores, chances).mean == pytest.approx(0.95)

    def test_unequal_weights_widen_the_interval(self) -> None:
        # Weights 10 (9 times) and 1 (10 times) are worth (90 + 10)^2 / (900 + 10) = 10.99 rows.
        scores = [1.0] * 9 + [1.0] * 5 + [0.0] * 5
        score = performance.live_score(scores, [0.1] * 9 + [1.0] * 10)
        expected = performance.wilson(0.95 * 10000 / 910, 10000 / 910)
        assert (score.low, score.high) == pytest.approx(expected)

    def test_without_labels_there_is_no_score(self) -> None:
        assert performance.live_score([]) is None

    @pytest.mark.parametrize(
        ("scores", "inclusion"),
        [([1.2], None), ([math.nan], None), ([1.0], [0.0]), ([1.0], [1.1]), ([1.0], [math.nan])],
    )
    def test_numbers_out_of_range_are_refused(
        self, scores: list[float], inclusion: list[float] | None
    ) -> None:
        with pytest.raises(ValueError, match=r"scores lie in \[0, 1\]"):
            performance.live_score(scores, inclusion)


class TestFloor:
    def test_an_ample_holdout_leaves_the_tolerance_as_the_whole_allowance(self) -> None:
        assert performance.decay_floor(0.95, 0.05, rows=5000) == pytest.approx(0.90)

    def test_a_small_holdout_lowers_it_to_what_the_holdout_can_vouch_for(self) -> None:
        # The one-sided 99% bound is the low end of a two-sided 98% interval.
        expected = performance.wilson(0.95 * 40, 40, 0.98).low
        assert expected < 0.90
        assert performance.decay_floor(0.95, 0.05, rows=40) == pytest.approx(expected)

    def test_without_tolerance_the_holdouts_own_error_is_still_allowed_for(self) -> None:
        assert performance.decay_floor(0.95, 0.0, rows=5000) < 0.95

    def test_it_never_falls_below_zero(self) -> None:
        assert performance.decay_floor(0.02, 0.05) == pytest.approx(0.0)


class TestECusum:
    def test_one_bad_score_grows_each_bet_from_one(self) -> None:
        alarm = ECusum(accepted=0.95, tolerance=0.05, threshold=1e4).add(0.0)
        assert alarm.wealth == pytest.approx(bets.growth_below(0.0, 0.90).tolist())

    def test_good_scores_are_forgotten_by_the_next_bad_one(self) -> None:
        # After 1,000 good scores each bet starts from 1 again, as it did at the beginning.
        fresh = ECusum(accepted=0.95, tolerance=0.05, threshold=1e4)
        assert fresh.extend([1.0] * 1000).add(0.0).wealth == pytest.approx(fresh.add(0.0).wealth)

    def test_it_fires_soon_after_a_collapse(self) -> None:
        # Wrong answers alone: the largest bet, 0.95 / 0.1 = 9.5, grows by 1 + 9.5 * 0.9 = 9.55 with
        # each; the mean over ten bets passes 10,000 with the fifth or sixth of them.
        alarm = ECusum(accepted=0.95, tolerance=0.05, threshold=1e4).extend([1.0] * 500)
        assert not alarm.extend([0.0] * 4).fired
        assert alarm.extend([0.0] * 6).fired

    def test_it_finds_a_decay_of_ten_points_below_the_floor_within_300_labels(self) -> None:
        # Mean growth at 80% right against a floor of 90% is KL(0.8, 0.9) = 0.044 per label, so
        # log(10,000) = 9.2 takes 209 labels with the best bet and up to log(10 bets) = 2.3 more,
        # 261 labels, with a mixture.
        lengths = run_lengths(0.80, ECusum(0.95, 0.05, threshold=1e4), longest=1000)
        assert float(np.median(lengths)) == pytest.approx(235, abs=40)

    def test_false_alarms_are_as_rare_as_promised_at_the_floor_itself(self) -> None:
        # The promise: the mean number of labels to an alarm is at least the threshold, 100. Runs
        # are cut off at 1,000 labels, which can only lower their mean; of 200 runs the mean lies
        # above the promise less three standard errors with 99.9% confidence.
        lengths = run_lengths(0.90, ECusum(0.95, 0.05, THRESHOLD), longest=1000)
        error = lengths.std() / math.sqrt(RUNS)
        assert lengths.mean() >= THRESHOLD - 3.0 * error

    def test_false_alarms_are_as_rare_for_fractional_scores(self) -> None:
        # Scores of 0.5 or 1 with mean 0.9: the same bound, whatever the distribution.
        lengths = run_lengths(0.8, ECusum(0.95, 0.05, THRESHOLD), longest=1000, wrong=0.5)
        error = lengths.std() / math.sqrt(RUNS)
        assert lengths.mean() >= THRESHOLD - 3.0 * error

    def test_an_accepted_score_that_was_luck_raises_no_alarm(self) -> None:
        # Truly 86% right, but 95% on a holdout of 60: without allowing for the holdout's error
        # (floor 90%) it is an alarm, with it (floor 84%) it is not.
        scores = (np.random.default_rng(3).random(2000) < 0.86).astype(float)
        assert ECusum(0.95, 0.05, threshold=1e4).extend(scores).fired
        assert not ECusum(0.95, 0.05, threshold=1e4, rows=60).extend(scores).fired

    def test_live_scores_lift_a_floor_that_a_small_holdout_left_low(self) -> None:
        # Accepted at 95% on 40 rows: floor 81.5%. 380 of the first 400 right make 95% of 440, whose
        # own error is within the five points tolerated.
        alarm = ECusum(0.95, 0.05, threshold=1e4, rows=40)
        assert alarm.floor == pytest.approx(performance.wilson(38, 40, 0.98).low)
        assert alarm.extend([1.0] * 380 + [0.0] * 19).floor == alarm.floor
        assert alarm.extend([1.0] * 380 + [0.0] * 20).floor == pytest.approx(0.90)

    def test_a_fall_that_a_small_holdout_would_hide_is_found_behind_the_baseline(self) -> None:
        # 95% right for 400 labels, then 83%: above 81.5%, seven points below 90%.
        right = np.random.default_rng(0).random(1400)
        scores = np.where(np.arange(1400) < 400, right < 0.95, right < 0.83).astype(float)
        assert ECusum(0.95, 0.05, threshold=1e4, rows=40).extend(scores).fired

    def test_live_scores_never_ask_for_more_than_was_accepted(self) -> None:
        # All of the first 400 right, where 80% on 40 rows were accepted: 75% is what is tolerated.
        alarm = ECusum(0.80, 0.05, threshold=1e4, rows=40).extend([1.0] * 400)
        assert alarm.floor == pytest.approx(0.75)

    def test_bad_live_scores_do_not_lower_what_is_tolerated(self) -> None:
        alarm = ECusum(0.95, 0.05, threshold=1e4, rows=40)
        assert alarm.extend([0.0] * 400).floor == alarm.floor

    def test_an_ample_holdout_keeps_its_floor(self) -> None:
        alarm = ECusum(0.95, 0.05, threshold=1e4, rows=5000)
        assert alarm.extend([1.0] * 500).floor == pytest.approx(alarm.floor)

    def test_the_alarm_goes_off_by_itself_once_scores_are_good_again(self) -> None:
        # Wealth is cut off at 20 times what fires; right answers then cost the largest bet
        # 1 - 9.5 * 0.1 = 0.05 of it each, the bets that matter a fifth or so.
        alarm = ECusum(0.95, 0.05, threshold=1e4).extend([0.0] * 1000)
        assert alarm.fired
        assert not alarm.extend([1.0] * 400).fired

    def test_taking_scores_one_by_one_or_together_is_the_same(self) -> None:
        scores = [1.0, 0.0, 0.5, 1.0, 0.0, 0.25]
        alarm = ECusum(0.95, 0.05, threshold=1e4)
        one_by_one = alarm
        for score in scores:
            one_by_one = one_by_one.add(score)
        assert one_by_one == alarm.extend(scores)
        assert one_by_one.count == 6

    def test_so_it_is_across_the_end_of_the_baseline(self) -> None:
        alarm = ECusum(0.95, 0.05, threshold=1e4, rows=40).extend([1.0] * 397)
        scores = [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
        one_by_one = alarm
        for score in scores:
            one_by_one = one_by_one.add(score)
        assert one_by_one == alarm.extend(scores)

    def test_a_restarted_alarm_goes_on_where_it_was(self) -> None:
        alarm = ECusum(0.95, 0.05, threshold=1e4, rows=300).extend([0.0, 1.0, 0.0])
        stored = msgspec.json.encode(msgspec.to_builtins(alarm))
        restored = msgspec.convert(msgspec.json.decode(stored), ECusum)
        assert restored.add(0.0) == alarm.add(0.0)

    @pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
    def test_a_score_out_of_range_is_refused(self, score: float) -> None:
        with pytest.raises(ValueError, match=r"scores lie in \[0, 1\]"):
            ECusum(0.95, 0.05, threshold=1e4).add(score)

    @pytest.mark.parametrize(
        "changes", [{"accepted": 1.5}, {"tolerance": -0.1}, {"threshold": 1.0}]
    )
    def test_settings_out_of_range_are_refused(self, changes: dict[str, float]) -> None:
        plain = {"accepted": 0.95, "tolerance": 0.05, "threshold": 1e4}
        with pytest.raises(ValueError, match="need 0 <= accepted <= 1"):
            ECusum(**{**plain, **changes})


class TestSubsiding:
    def test_an_alarm_has_not_subsided_where_one_good_score_takes_it_below_the_threshold(
        self,
    ) -> None:
        alarm = ECusum(accepted=0.95, tolerance=0.05, threshold=1e4)
        while not alarm.fired:
            alarm = alarm.add(0.0)
        while alarm.fired:
            alarm = alarm.add(1.0)
        assert not alarm.subsided

    def test_even_the_longest_alarm_has_subsided_after_some_hundred_good_scores(self) -> None:
        alarm = ECusum(accepted=0.95, tolerance=0.05, threshold=1e4).extend([0.0] * 200)
        # The smallest bet, 0.02 / 0.1 = 0.2, is the slowest: from its ceiling log(1e4 * 10) + 3
        # each good score takes off -log(1 - 0.2 * 0.1) = 0.02, and below log(1e4) - 3 it counts
        # with one tenth in the mean: (14.5 - 6.2 - 2.3) / 0.02 = 300 scores.
        assert not alarm.extend([1.0] * 250).subsided
        assert alarm.extend([1.0] * 320).subsided
