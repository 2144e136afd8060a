from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitoring import bets, evidence
from monitoring.evidence import AskedPair, BernoulliState, Margins, PairCounts, PairedState
from tests.support import canaries

ALPHA = 0.05
MARGINS = Margins(promote=0.01, rollback=0.01, alpha=ALPHA)
RUNS, REQUESTS = 600, 5000
"""Canaries per simulation, and requests of each; a look after every 50 makes 100 looks."""

MOST_FALSE = int(stats.binom.ppf(0.999, RUNS, ALPHA))
"""Ville allows each canary to err with chance at most alpha = 0.05, so of 600 independent ones the
number that errs is stochastically at most Binomial(600, 0.05): its 99.9% quantile is 48."""

OUTCOMES = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=60)
FRACTIONS = st.lists(st.floats(-1.0, 1.0), max_size=30)


def false_rollbacks(found: canaries.Canaries) -> int:
    return int((found.logs(MARGINS).rollback >= MARGINS.threshold).any(axis=1).sum())


def false_promotions(found: canaries.Canaries) -> int:
    return int((found.logs(MARGINS).promote >= MARGINS.threshold).any(axis=1).sum())


def bet_by_bet(counts: PairCounts, factors: np.ndarray) -> float:
    """W(bet) = harm_factor^harm * gain_factor^gain * tie_factor^tie, averaged over the bets."""
    wealth = np.prod(factors ** np.array(counts)[:, None], axis=0)
    return math.log(np.average(wealth, weights=bets.WEIGHTS))


class TestFormula:
    def test_the_rollback_evidence_is_the_mean_of_the_stated_products(self) -> None:
        margin, counts = 0.02, PairCounts(harm=9, gain=3, tie=100)
        bet = np.array(bets.SHARES) / (1.0 + margin)
        factors = np.array([1 + bet * (1 - margin), 1 - bet * (1 + margin), 1 - bet * margin])
        assert evidence.log_evidence_rollback(
            counts, Margins(promote=0.02, rollback=0.02)
        ) == pytest.approx(bet_by_bet(counts, factors))

    def test_the_promote_evidence_is_the_mean_of_the_stated_products(self) -> None:
        margin, counts = 0.02, PairCounts(harm=3, gain=9, tie=100)
        bet = np.array(bets.SHARES) / (1.0 - margin)
        factors = np.array([1 - bet * (1 - margin), 1 + bet * (1 + margin), 1 + bet * margin])
        assert evidence.log_evidence_promote(
            counts, Margins(promote=0.02, rollback=0.02)
        ) == pytest.approx(bet_by_bet(counts, factors))

    @given(OUTCOMES)
    def test_the_state_for_any_outcomes_agrees_with_the_formula_for_counts(
        self, outcomes: list[float]
    ) -> None:
        state = PairedState(MARGINS).extend(outcomes)
        found = evidence.weigh(state)
        assert found.promote == pytest.approx(
            evidence.log_evidence_promote(state.counts, MARGINS), abs=1e-9
        )
        assert found.rollback == pytest.approx(
            evidence.log_evidence_rollback(state.counts, MARGINS), abs=1e-9
        )

    def test_no_pairs_are_no_evidence(self) -> None:
        # Every product is empty, so E = 1 and its log is 0.
        assert evidence.weigh(PairedState(MARGINS)) == (0.0, 0.0)

    def test_the_threshold_is_the_log_of_one_over_alpha(self) -> None:
        assert Margins(alpha=0.05).threshold == pytest.approx(math.log(20.0))


class TestPairedState:
    def test_outcomes_are_counted_by_sign(self) -> None:
        state = PairedState(MARGINS).extend([0.5, -0.25, -1.0, 0.0, 1.0, 0.25])
        assert state.counts == PairCounts(harm=3, gain=2, tie=1)
        assert state.harm == pytest.approx(0.5 / 6)  # 0.5 - 0.25 - 1 + 0 + 1 + 0.25 over 6 pairs

    def test_a_small_difference_weighs_less_than_a_large_one(self) -> None:
        slight = evidence.weigh(PairedState(MARGINS).extend([0.1] * 20))
        severe = evidence.weigh(PairedState(MARGINS).extend([1.0] * 20))
        assert 0.0 < slight.rollback < severe.rollback
        assert 0.0 > slight.promote > severe.promote

    @given(FRACTIONS)
    def test_the_order_and_the_packaging_of_pairs_do_not_matter(
        self, outcomes: list[float]
    ) -> None:
        at_once = evidence.weigh(PairedState(MARGINS).extend(outcomes))
        state = PairedState(MARGINS)
        for outcome in reversed(outcomes):
            state = state.add(outcome)
        assert evidence.weigh(state) == pytest.approx(at_once, abs=1e-9)

    @given(FRACTIONS)
    def test_a_state_that_was_written_down_and_read_back_decides_the_same(
        self, outcomes: list[float]
    ) -> None:
        state = PairedState(MARGINS).extend(outcomes)
        stored = msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(state)))
        restored = msgspec.convert(stored, PairedState)
        assert restored == state
        assert evidence.decide(restored.add(1.0), [0.5]) == evidence.decide(state.add(1.0), [0.5])

    def test_adding_leaves_the_former_state_as_it_was(self) -> None:
        before = PairedState(MARGINS)
        before.add(1.0)
        assert before == PairedState(MARGINS)

    def test_free_ties_are_pairs_without_a_label(self) -> None:
        state = PairedState(MARGINS).extend([0.0] * 7, labelled=False).add(0.0)
        assert (state.pairs, state.labels) == (8, 1)

    @pytest.mark.parametrize("outcome", [1.5, -1.01, math.nan, math.inf])
    def test_an_outcome_out_of_range_is_refused(self, outcome: float) -> None:
        with pytest.raises(ValueError, match=r"outcomes lie in \[-1, 1\]"):
            PairedState(MARGINS).add(outcome)

    def test_without_pairs_there_is_no_mean_outcome(self) -> None:
        assert PairedState(MARGINS).harm is None


class TestMargins:
    @pytest.mark.parametrize(
        "changes",
        [
            {"promote": 0.01, "rollback": 0.02},
            {"promote": -0.1, "rollback": -0.1},
            {"promote": 1.0},
            {"alpha": 0.0},
            {"alpha": 1.0},
        ],
    )
    def test_margins_out_of_range_are_refused(self, changes: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="need 0 <= rollback <= promote"):
            Margins(**changes)

    def test_a_slice_gets_the_share_of_alpha_of_its_place(self) -> None:
        assert Margins(alpha=0.05).at_place(4).alpha == pytest.approx(0.05 / 20)

    def test_the_shares_of_any_number_of_slices_stay_within_alpha(self) -> None:
        # The sum of 1 / (k (k + 1)) up to n is 1 - 1 / (n + 1).
        shares = [Margins(alpha=0.05).at_place(place).alpha for place in range(1, 1000)]
        assert sum(shares) == pytest.approx(0.05 * 0.999)


class TestAskedLabels:
    def test_an_unlabelled_disagreement_counts_as_harm_for_promotion(self) -> None:
        settled = PairedState(MARGINS).extend([0.0] * 50)
        assert evidence.weigh(settled, [1.0]).promote == pytest.approx(
            evidence.weigh(settled.add(1.0)).promote
        )

    def test_an_unlabelled_disagreement_counts_as_gain_for_rollback(self) -> None:
        settled = PairedState(MARGINS).extend([0.0] * 50)
        assert evidence.weigh(settled, [1.0]).rollback == pytest.approx(
            evidence.weigh(settled.add(-1.0)).rollback
        )

    def test_the_worst_of_a_small_divergence_is_small(self) -> None:
        settled = PairedState(MARGINS).extend([0.0] * 50)
        assert evidence.weigh(settled, [0.3]).promote == pytest.approx(
            evidence.weigh(settled.add(0.3)).promote
        )

    def test_a_label_replaces_the_worst_case_instead_of_adding_to_it(self) -> None:
        before, waiting = evidence.asked([AskedPair(0.0)] * 9 + [AskedPair(1.0)], MARGINS)
        after, empty = evidence.asked([AskedPair(0.0)] * 9 + [AskedPair(1.0, -1.0)], MARGINS)
        assert (before.pairs, len(waiting)) == (9, 1)
        assert (after.pairs, len(empty)) == (10, 0)
        assert evidence.weigh(after) == evidence.weigh(before.add(-1.0))

    @given(
        st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(-1.0, 1.0), st.booleans()), max_size=30)
    )
    def test_missing_labels_can_only_lower_the_evidence(
        self, pairs: list[tuple[float, float, bool]]
    ) -> None:
        # Each outcome is its divergence times a number in [-1, 1]; some of the labels are missing.
        known = [AskedPair(far, far * turn) for far, turn, _ in pairs]
        partly = [AskedPair(far, far * turn if told else None) for far, turn, told in pairs]
        whole = evidence.weigh(*evidence.asked(known, MARGINS))
        found = evidence.weigh(*evidence.asked(partly, MARGINS))
        assert found.promote <= whole.promote + 1e-9
        assert found.rollback <= whole.rollback + 1e-9

    def test_agreeing_pairs_cost_no_label(self) -> None:
        state, pending = evidence.asked([AskedPair(0.0)] * 5, MARGINS)
        assert (state.pairs, state.labels, pending) == (5, 0, ())


class TestDecide:
    def test_little_evidence_is_undecided(self) -> None:
        decision = evidence.decide(PairedState(MARGINS).extend([0.0] * 20))
        assert decision.kind == "undecided"

    def test_harm_is_rolled_back(self) -> None:
        assert evidence.decide(PairedState(MARGINS).extend([1.0] * 10)).kind == "rollback"

    def test_harmlessness_is_promoted(self) -> None:
        # Ties alone grow a bet by 1 + bet * 0.01 each; 700 give the largest a wealth of 800.
        assert evidence.decide(PairedState(MARGINS).extend([0.0] * 700)).kind == "promote"

    def test_where_both_are_shown_rollback_wins(self) -> None:
        # A loss of 5 points lies between a rollback margin of 0 and a promote margin of 20 points.
        margins = Margins(promote=0.2, rollback=0.0)
        decision = evidence.decide(PairedState(margins).extend([1.0] * 50 + [0.0] * 950))
        assert min(decision.evidence) > decision.threshold
        assert decision.kind == "rollback"

    def test_the_decision_carries_its_numbers(self) -> None:
        state = PairedState(MARGINS).extend([1.0, -1.0]).extend([0.0] * 6, labelled=False)
        decision = evidence.decide(state, pending=[1.0, 1.0])
        assert decision.counts == PairCounts(harm=1, gain=1, tie=6)
        assert (decision.labels, decision.pending, decision.harm) == (2, 2, 0.0)
        assert decision.label_coverage == pytest.approx(0.8)  # 8 settled of 10 pairs

    def test_without_pairs_the_coverage_is_zero(self) -> None:
        assert evidence.decide(PairedState(MARGINS)).label_coverage == pytest.approx(0.0)


class TestFalseDecisions:
    def test_the_bound_is_what_alpha_allows(self) -> None:
        assert MOST_FALSE == 48

    def test_equal_candidates_are_rarely_rolled_back_however_often_one_looks(self) -> None:
        rng = np.random.default_rng(1)
        rates, delays = canaries.Rates(0.015, 0.015), canaries.Delays(harm=200, other=200)
        found = canaries.asked(rng, rates, delays, (RUNS, REQUESTS))
        assert false_rollbacks(found) <= MOST_FALSE

    def test_candidates_at_the_rollback_margin_are_rarely_rolled_back(self) -> None:
        # Harm 2.5% minus gain 1.5% is exactly the margin of 1%: the hardest case of the null.
        rng = np.random.default_rng(2)
        rates, delays = canaries.Rates(0.025, 0.015), canaries.Delays(harm=0, other=0)
        found = canaries.asked(rng, rates, delays, (RUNS, REQUESTS))
        assert false_rollbacks(found) <= MOST_FALSE

    def test_labels_that_come_sooner_for_harm_do_not_roll_back_wrongly(self) -> None:
        rng = np.random.default_rng(3)
        rates, delays = canaries.Rates(0.025, 0.015), canaries.Delays(harm=0, other=800)
        found = canaries.asked(rng, rates, delays, (RUNS, REQUESTS))
        assert false_rollbacks(found) <= MOST_FALSE

    def test_natural_labels_that_come_late_do_not_roll_back_wrongly(self) -> None:
        rng = np.random.default_rng(4)
        found = canaries.natural(rng, canaries.Rates(0.025, 0.015), 300, (RUNS, REQUESTS))
        assert false_rollbacks(found) <= MOST_FALSE

    def test_candidates_at_the_promote_margin_are_rarely_promoted(self) -> None:
        rng = np.random.default_rng(5)
        rates, delays = canaries.Rates(0.02, 0.01), canaries.Delays(harm=0, other=0)
        found = canaries.asked(rng, rates, delays, (RUNS, REQUESTS))
        assert false_promotions(found) <= MOST_FALSE

    def test_labels_that_come_later_for_harm_do_not_promote_wrongly(self) -> None:
        # While the labels of harm are out, only good news is settled.
        rng = np.random.default_rng(6)
        rates, delays = canaries.Rates(0.02, 0.01), canaries.Delays(harm=800, other=0)
        found = canaries.asked(rng, rates, delays, (RUNS, REQUESTS))
        assert false_promotions(found) <= MOST_FALSE

    def test_without_the_worst_case_late_labels_of_harm_would_promote_wrongly(self) -> None:
        rng = np.random.default_rng(6)
        rates, delays = canaries.Rates(0.02, 0.01), canaries.Delays(harm=800, other=0)
        found = canaries.asked(rng, rates, delays, (RUNS, REQUESTS))
        assert false_promotions(replace(found, pending=0 * found.pending)) > RUNS / 2

    def test_natural_labels_that_come_late_do_not_promote_wrongly(self) -> None:
        rng = np.random.default_rng(7)
        found = canaries.natural(rng, canaries.Rates(0.02, 0.01), 300, (RUNS, REQUESTS))
        assert false_promotions(found) <= MOST_FALSE


class TestPower:
    def test_a_harmless_candidate_is_promoted_after_about_2100_pairs_and_63_labels(self) -> None:
        # Disagreement on 3% of the requests, half of it harm. The best bet is 0.01 / 0.03 = 1/3 and
        # grows by 0.01^2 / (2 * 0.03) = 1/600 a pair, so log(20) alone takes 1,800 on average; the
        # bet of 0.28 starts with a fifth, log(5) = 1.6 more. Half decide before that. 3% of 2,100
        # are 63 labels.
        rng = np.random.default_rng(8)
        rates, delays = canaries.Rates(0.015, 0.015), canaries.Delays(harm=0, other=0)
        found = canaries.asked(rng, rates, delays, (RUNS, REQUESTS))
        pairs = float(np.median(canaries.first(found.logs(MARGINS).promote >= MARGINS.threshold)))
        labels = float(np.median(found.labels[:, int(pairs) // 50 - 1]))
        assert pairs == pytest.approx(2100, rel=0.1)
        assert labels == pytest.approx(63, rel=0.1)

    def test_a_loss_of_three_points_is_rolled_back_after_about_600_pairs_and_41_labels(
        self,
    ) -> None:
        # Disagreement on 6.8% of the requests: 3.4% harm, 0.4% gain, 3% differently wrong.
        rng = np.random.default_rng(9)
        rates = canaries.Rates(harm=0.034, gain=0.004, both_wrong=0.03)
        found = canaries.asked(rng, rates, canaries.Delays(harm=0, other=0), (RUNS, 3000))
        pairs = float(np.median(canaries.first(found.logs(MARGINS).rollback >= MARGINS.threshold)))
        labels = float(np.median(found.labels[:, int(pairs) // 50 - 1]))
        assert pairs == pytest.approx(600, rel=0.25)
        assert labels == pytest.approx(41, rel=0.25)

    def test_a_broken_candidate_is_rolled_back_within_fifty_pairs(self) -> None:
        # It is wrong on 40% of what the champion gets right.
        rng = np.random.default_rng(10)
        delays = canaries.Delays(harm=0, other=0)
        found = canaries.asked(rng, canaries.Rates(0.4, 0.01), delays, (RUNS, 500))
        reached = found.logs(MARGINS).rollback >= MARGINS.threshold
        assert float(np.median(canaries.first(reached))) == pytest.approx(50.0)


class TestRegression:
    """Outcomes are differences of scores: small numbers, nearly all of them different from 0."""

    def test_candidates_at_the_margin_are_rarely_rolled_back_or_promoted(self) -> None:
        # Outcomes uniform within 0.3 of the margin of 0.01: their mean is the edge of both nulls.
        rng = np.random.default_rng(12)
        outcomes = 0.01 + rng.uniform(-0.3, 0.3, size=(RUNS, 2000))
        found = canaries.fractional(outcomes, MARGINS)
        assert (found.rollback >= MARGINS.threshold).any(axis=1).sum() <= MOST_FALSE
        assert (found.promote >= MARGINS.threshold).any(axis=1).sum() <= MOST_FALSE

    def test_skewed_outcomes_decide_no_more_often_wrongly(self) -> None:
        # Harm is rare and large, gain common and small: 2% at 0.99 and 98% at -0.01 have the mean
        # 0.0198 - 0.0098 = 0.01.
        rng = np.random.default_rng(13)
        outcomes = np.where(rng.random((RUNS, 2000)) < 0.02, 0.99, -0.01)
        found = canaries.fractional(outcomes, MARGINS)
        assert (found.rollback >= MARGINS.threshold).any(axis=1).sum() <= MOST_FALSE
        assert (found.promote >= MARGINS.threshold).any(axis=1).sum() <= MOST_FALSE

    def test_small_differences_decide_sooner_than_right_and_wrong_of_the_same_mean(self) -> None:
        # A loss of 3 points on average, which took right and wrong answers 700 pairs above. Within
        # 0.1 of it the variance is 0.003 instead of 0.04, so the largest bet is best: it grows by
        # about 0.9 * 0.02 = 0.018 a pair, and log(20) + log(15) for its part = 5.7 takes 320.
        rng = np.random.default_rng(14)
        outcomes = 0.03 + rng.uniform(-0.1, 0.1, size=(RUNS, 1000))
        reached = canaries.fractional(outcomes, MARGINS).rollback >= MARGINS.threshold
        assert float(np.median(canaries.first(reached))) == pytest.approx(320, abs=50)

    def test_the_simulation_and_the_state_agree(self) -> None:
        outcomes = np.random.default_rng(15).uniform(-0.3, 0.3, size=(1, 100))
        simulated = canaries.fractional(outcomes, MARGINS)
        found = evidence.weigh(PairedState(MARGINS).extend(outcomes[0]))
        assert found.promote == pytest.approx(simulated.promote[0, -1])
        assert found.rollback == pytest.approx(simulated.rollback[0, -1])

    def test_an_unlabelled_difference_counts_in_full_until_its_label_comes(self) -> None:
        # Two answers 0.2 of the scale apart; the truth lies halfway, so the label makes it a tie.
        waiting, pending = evidence.asked([AskedPair(0.2)], MARGINS)
        settled, nothing = evidence.asked([AskedPair(0.2, outcome=0.0)], MARGINS)
        assert evidence.weigh(waiting, pending).promote < evidence.weigh(settled, nothing).promote
        assert evidence.weigh(waiting, pending).rollback < evidence.weigh(settled, nothing).rollback


class TestSlices:
    def test_slices_that_appear_one_after_another_are_rarely_rolled_back_wrongly(self) -> None:
        # Five slices of one canary at the margin, each at the share of its place, wherever it is
        # looked at and whenever it appeared: the chance that any errs is at most alpha.
        thresholds = np.array([MARGINS.at_place(place).threshold for place in range(1, 6)])
        rates, delays = canaries.Rates(0.025, 0.015), canaries.Delays(harm=0, other=0)
        rng = np.random.default_rng(16)
        found = canaries.asked(rng, rates, delays, (5 * RUNS, 1000))
        logs = found.logs(MARGINS).rollback.reshape(RUNS, 5, -1)
        reached = (logs >= thresholds[:, np.newaxis]).any(axis=2)
        assert reached.any(axis=1).sum() <= MOST_FALSE

    def test_a_slice_needs_more_evidence_than_the_whole(self) -> None:
        # log(20 * 6) = 4.8 instead of log(20) = 3.0: the same pairs are no proof for the second.
        state = PairedState(MARGINS).extend([1.0] * 9)
        sliced = PairedState(MARGINS.at_place(2)).extend([1.0] * 9)
        assert 3.0 < evidence.weigh(state).rollback < 4.8
        assert evidence.decide(state).kind == "rollback"
        assert evidence.decide(sliced).kind == "undecided"


class TestBernoulli:
    def test_the_evidence_is_the_mean_likelihood_ratio_over_expected_rates(self) -> None:
        # Odds of the margin are 1/99; bets expect 1.25 times these odds up to those of 25%.
        odds = np.geomspace(1.25 / 99, 1 / 3, len(bets.SHARES))
        rates = odds / (1 + odds)
        ratios = (rates / 0.01) ** 3 * ((1 - rates) / 0.99) ** 97
        assert BernoulliState(0.01, failures=3, trials=100).log_evidence == pytest.approx(
            math.log(np.average(ratios, weights=bets.WEIGHTS))
        )

    def test_a_single_early_failure_is_no_evidence(self) -> None:
        assert not BernoulliState().add(failed=True).exceeded

    def test_a_few_early_failures_in_a_row_are(self) -> None:
        # Two failures at an allowed 1% have chance 0.0001; the bets on 25% alone grew by 625.
        assert BernoulliState().add(failed=True).add(failed=True).exceeded

    def test_a_rate_within_the_margin_is_never_exceeded_by_luck_alone_too_often(self) -> None:
        # At exactly the margin, looked at after each of 2,000 requests; the bound is as above.
        rng = np.random.default_rng(11)
        failures = (rng.random((RUNS, 2000)) < 0.01).cumsum(axis=1)
        found = [
            any(
                BernoulliState(failures=int(row[n]), trials=n + 1).exceeded
                for n in np.flatnonzero(np.diff(row, prepend=0))
            )
            for row in failures
        ]
        assert sum(found) <= MOST_FALSE

    def test_a_doubled_failure_rate_is_found(self) -> None:
        # 60 of 3,000 is 2% against 1% allowed: log likelihood ratio 60 ln 2 - 2940 * 0.0102 = 11.7.
        assert BernoulliState(failures=60, trials=3000).exceeded

    def test_states_add_up(self) -> None:
        state = BernoulliState().add(failed=True).add(failed=False).add(failed=False)
        assert (state.failures, state.trials) == (1, 3)
        assert state.rate == pytest.approx(1 / 3)

    def test_without_trials_there_is_no_rate(self) -> None:
        assert BernoulliState().rate is None

    def test_margins_above_a_quarter_still_have_bets_above_them(self) -> None:
        assert BernoulliState(margin=0.4, failures=80, trials=100).exceeded

    def test_a_state_survives_being_written_down(self) -> None:
        state = BernoulliState(failures=2, trials=50)
        assert msgspec.convert(msgspec.to_builtins(state), BernoulliState) == state

    @pytest.mark.parametrize(
        ("margin", "failures", "trials"), [(0.0, 0, 0), (1.0, 0, 0), (0.1, 2, 1), (0.1, -1, 1)]
    )
    def test_impossible_numbers_are_refused(
        self, margin: float, failures: int, trials: int
    ) -> None:
        with pytest.raises(ValueError, match=r"need 0 <= failures|margin and alpha"):
            BernoulliState(margin, failures=failures, trials=trials)
