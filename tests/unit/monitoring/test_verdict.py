from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coppice import records
from monitoring import diagnosis, evidence, performance, verdict
from monitoring.drift import DriftLook
from monitoring.evidence import BernoulliState, Decision, Margins, PairedState
from monitoring.performance import ECusum
from monitoring.verdict import CandidateCase, ChampionCase

MARGINS = Margins(promote=0.01, rollback=0.01, alpha=0.05)
CLEAN = DriftLook(400, {"a": 0.5}, {"a": 0.1}, {}, alarmed=False, reason="no feature drifts")
DRIFTING = DriftLook(400, {"a": 1e-9}, {"a": 3.0}, {}, alarmed=True, reason="1 of 1 features drift")
BLIND = DriftLook(9, {}, {}, {"a": "short"}, alarmed=None, reason="the window has 9 of 400 rows")


def decided(harm: int, gain: int, tie: int, pending: int = 0) -> Decision:
    state = PairedState(MARGINS).extend([0.0] * tie, labelled=False)
    return evidence.decide(state.extend([1.0] * harm + [-1.0] * gain), [1.0] * pending)


HARMLESS = decided(harm=2, gain=3, tie=1200)
HARMFUL = decided(harm=30, gain=2, tie=400)
OPEN = decided(harm=2, gain=1, tie=97)
RELIABLE = BernoulliState(margin=0.01, failures=0, trials=1200)


def judge(**changes: Any) -> records.Verdict:
    plain = {"decision": HARMLESS, "failures": RELIABLE}
    case = CandidateCase(model="m", version="m:new", against="m:old", **{**plain, **changes})
    return verdict.candidate_verdict(case)


class TestCandidate:
    def test_one_that_is_shown_to_do_no_harm_is_promoted(self) -> None:
        found = judge()
        assert found.kind == "promote"
        assert found.reason == (
            "The candidate scores 0.1 points higher than the champion on 1205 pairs (2 worse, "
            "3 better, 5 labels): it is shown to lose less than 1.0 points."
        )

    def test_one_that_is_shown_to_do_harm_is_rolled_back(self) -> None:
        found = judge(decision=HARMFUL)
        assert found.kind == "rollback"
        # (30 - 2) / 432 = 6.5%
        assert found.reason == (
            "The candidate scores 6.5 points lower than the champion on 432 pairs (30 worse, "
            "2 better, 32 labels): more than the 1.0 points allowed."
        )

    def test_one_of_which_little_is_known_is_undecided_and_says_what_is_missing(self) -> None:
        found = judge(decision=OPEN, labels_needed=40)
        assert found.kind == "undecided"
        assert found.reason == (
            "Neither harm nor its absence is shown by 100 pairs (2 worse, 1 better, 3 labels); "
            "about 40 more labels should decide."
        )

    def test_pairs_without_their_label_are_named(self) -> None:
        found = judge(decision=decided(harm=0, gain=0, tie=300, pending=7))
        assert "7 still without a label" in found.reason

    def test_without_pairs_it_is_undecided(self) -> None:
        found = judge(decision=decided(0, 0, 0), failures=BernoulliState())
        assert found.kind == "undecided"
        assert found.reason == "No request has been answered by both versions yet."

    def test_one_that_fails_too_often_is_rolled_back_whatever_its_answers_are_worth(self) -> None:
        found = judge(failures=BernoulliState(margin=0.01, failures=14, trials=200))
        assert found.kind == "rollback"
        assert found.reason == (
            "The candidate failed 14 of 200 requests (7.0%): more than the 1.0% allowed."
        )

    def test_one_that_fails_suspiciously_often_is_not_promoted_yet(self) -> None:
        # 2 of 150 are 1.3%: above the margin, though far from proof.
        found = judge(failures=BernoulliState(margin=0.01, failures=2, trials=150))
        assert found.kind == "undecided"
        assert "failed 2 of 150 requests (1.3%)" in found.reason

    def test_one_that_is_slow_more_often_than_allowed_is_rolled_back(self) -> None:
        # 30 of 100 at 5% allowed: the bet that expects 25% grew by 5^30 * (0.75 / 0.95)^70.
        found = judge(slow=BernoulliState(margin=0.05, failures=30, trials=100))
        assert (found.kind, found.counts["slow"], found.counts["timed"]) == ("rollback", 30, 100)
        assert found.reason == (
            "The candidate is slow on 30 of 100 requests (30.0%), where 5.0% may be: "
            "more than allowed."
        )

    def test_one_that_is_slow_a_little_more_often_than_allowed_waits(self) -> None:
        found = judge(slow=BernoulliState(margin=0.05, failures=6, trials=100))
        assert found.kind == "undecided"
        assert found.reason.endswith("where 5.0% may be; it does no harm, and waits.")

    def test_one_that_no_client_has_waited_for_yet_is_not_held_back(self) -> None:
        assert judge(slow=BernoulliState(margin=0.05)).kind == "promote"

    def test_without_an_objective_nothing_is_said_of_slowness(self) -> None:
        assert "slow" not in judge().evidence

    def test_one_whose_failures_are_not_counted_is_not_promoted(self) -> None:
        found = judge(failures=BernoulliState())
        assert found.kind == "undecided"
        assert "whether it fails requests is not known" in found.reason

    def test_harm_in_one_slice_is_enough_to_roll_back(self) -> None:
        found = judge(slices={"pen=ink": HARMFUL, "pen=chalk": HARMLESS})
        assert (found.kind, found.slice) == ("rollback", "pen=ink")
        assert found.reason.startswith("In slice pen=ink: The candidate scores 6.5 points lower")

    def test_of_several_harmed_slices_the_clearest_is_named(self) -> None:
        worse = decided(harm=90, gain=0, tie=300)
        found = judge(slices={"a": HARMFUL, "b": worse})
        assert found.slice == "b"
        assert found.evidence["rollback"] == pytest.approx(worse.evidence.rollback)

    def test_harmless_slices_alone_promote_nothing(self) -> None:
        assert judge(decision=OPEN, slices={"a": HARMLESS}).kind == "undecided"

    def test_the_numbers_travel_with_it(self) -> None:
        found = judge(decision=OPEN, labels_needed=40)
        assert found.evidence == pytest.approx(
            {
                "promote": OPEN.evidence.promote,
                "rollback": OPEN.evidence.rollback,
                "threshold": np.log(20.0),
                "failures": RELIABLE.log_evidence,
                "harm": 0.01,  # (2 - 1) / 100
            }
        )
        assert found.counts == {
            "harm": 2,
            "gain": 1,
            "tie": 97,
            "labels": 3,
            "pending": 0,
            "failures": 0,
            "trials": 1200,
            "needed": 40,
        }

    def test_it_says_whom_it_is_about_and_how_much_is_labelled(self) -> None:
        found = judge(decision=decided(harm=0, gain=0, tie=30, pending=10))
        assert (found.scope, found.version, found.against) == ("candidate", "m:new", "m:old")
        assert found.label_coverage == pytest.approx(0.75)
        assert found.cause is None


STEADY = ECusum(accepted=0.95, tolerance=0.05, threshold=1e4).extend([1.0] * 300)
FALLEN = STEADY.extend([0.0] * 100)
GOOD = performance.LiveScore(mean=0.948, low=0.92, high=0.967, labels=300)


def watch(**changes: Any) -> records.Verdict:
    plain = {"alarm": STEADY, "score": GOOD, "min_labels": 60, "looks": [CLEAN]}
    case = ChampionCase(model="m", version="m:old", **{**plain, **changes})
    return verdict.champion_verdict(case)


class TestChampion:
    def test_one_that_scores_as_accepted_on_familiar_inputs_is_healthy(self) -> None:
        found = watch()
        assert found.kind == "healthy"
        assert found.reason == (
            "The champion scores 94.8% (92.0% to 96.7%) on the last 300 labels, accepted at "
            "95.0%; no feature drifts."
        )

    def test_one_that_falls_below_the_floor_decays(self) -> None:
        found = watch(alarm=FALLEN)
        assert (found.kind, found.cause) == ("decay", "undecided")
        assert "below the 90.0% tolerated. Its cause is not known yet." in found.reason

    def test_a_decay_carries_its_diagnosis(self) -> None:
        cause = diagnosis.Diagnosis(
            "pruning", "The parent is better.", {"pruning": 0.001}, {"pruning": 0.08}
        )
        found = watch(alarm=FALLEN, diagnosis=cause, previous="m:before")
        assert (found.cause, found.against) == ("pruning", None)
        assert found.reason.endswith("The parent is better.")
        assert found.evidence["p_pruning"] == pytest.approx(0.001)
        assert found.evidence["gain_pruning"] == pytest.approx(0.08)

    def test_where_going_back_helps_the_previous_champion_is_named(self) -> None:
        cause = diagnosis.Diagnosis("pruning", "Both are better.", retreat=True)
        found = watch(alarm=FALLEN, diagnosis=cause, previous="m:before")
        assert found.against == "m:before"

    def test_an_open_diagnosis_says_how_many_labels_it_takes(self) -> None:
        cause = diagnosis.Diagnosis("undecided", "Open.", labels_needed=30)
        found = watch(alarm=FALLEN, diagnosis=cause)
        assert (found.cause, found.counts["needed"]) == ("undecided", 30)

    def test_a_diagnosis_left_over_from_before_says_nothing_about_a_healthy_one(self) -> None:
        found = watch(diagnosis=diagnosis.Diagnosis("world", "The world changed."))
        assert (found.kind, found.cause) == ("healthy", None)

    def test_drift_is_declared_when_it_is_sustained(self) -> None:
        found = watch(looks=[CLEAN, DRIFTING, DRIFTING])
        assert found.kind == "drift"
        assert found.reason == (
            "In 2 windows in a row inputs or answers drift: 1 of 1 features drift."
        )

    @pytest.mark.parametrize(
        ("what", "sentence"),
        [("labels", "labels drift: "), ("slice pen=ink", "slice pen=ink drifts: ")],
    )
    def test_labels_and_slices_drift_too_and_are_named(self, what: str, sentence: str) -> None:
        found = watch(other_looks={what: [DRIFTING, DRIFTING]})
        assert found.kind == "drift"
        assert found.reason == f"In 2 windows in a row {sentence}1 of 1 features drift."

    def test_windows_of_two_slices_do_not_add_up(self) -> None:
        looks = {"slice a": [CLEAN, DRIFTING], "slice b": [CLEAN, DRIFTING]}
        assert watch(other_looks=looks).kind == "healthy"

    def test_a_slice_that_cannot_be_compared_leaves_the_verdict_as_it_is(self) -> None:
        assert watch(other_looks={"slice a": [BLIND, BLIND]}).kind == "healthy"

    def test_a_single_drifting_window_is_not_drift(self) -> None:
        assert watch(looks=[DRIFTING, CLEAN, DRIFTING]).kind == "healthy"

    def test_decay_goes_before_drift(self) -> None:
        assert watch(alarm=FALLEN, looks=[DRIFTING, DRIFTING]).kind == "decay"

    def test_drift_is_declared_without_any_label(self) -> None:
        assert watch(score=None, looks=[DRIFTING, DRIFTING]).kind == "drift"

    @pytest.mark.parametrize(
        ("changes", "missing"),
        [
            ({"score": None}, "only 0 of the 60 labels that it takes"),
            ({"score": GOOD._replace(labels=59)}, "only 59 of the 60 labels that it takes"),
            ({"looks": []}, "no window has been compared with the reference yet"),
            ({"looks": [CLEAN, BLIND]}, "the window has 9 of 400 rows"),
        ],
    )
    def test_whatever_is_missing_it_is_never_called_healthy(
        self, changes: dict[str, Any], missing: str
    ) -> None:
        found = watch(**changes)
        assert found.kind == "undecided"
        assert found.reason == f"Not known to be healthy: {missing}."

    def test_the_numbers_travel_with_it(self) -> None:
        found = watch(label_coverage=0.4)
        assert found.evidence == pytest.approx(
            {"decay": STEADY.log_evidence, "floor": 0.90, "score": 0.948, "drift": 0.1}
        )
        assert found.counts == {"labels": 300}
        assert found.label_coverage == pytest.approx(0.4)


class TestSustained:
    @pytest.mark.parametrize(
        ("alarms", "needed", "expected"),
        [
            ([], 2, False),
            ([True], 2, False),
            ([True, True], 2, True),
            ([True, True, False], 2, False),
            ([False, True, True], 2, True),
            ([False, True, True], 3, False),
            ([True], 1, True),
        ],
    )
    def test_the_last_windows_must_all_alarm(
        self, alarms: list[bool | None], needed: int, *, expected: bool
    ) -> None:
        assert verdict.sustained(alarms, needed) is expected

    def test_a_window_that_could_not_be_compared_neither_alarms_nor_clears(self) -> None:
        assert verdict.sustained([True, None, True], 2)
        assert not verdict.sustained([True, None, None], 2)


def test_a_decay_stands_until_its_alarm_has_subsided() -> None:
    assert watch(alarm=STEADY, decaying=True).kind == "decay"
    assert watch(alarm=STEADY, decaying=False).kind == "healthy"
