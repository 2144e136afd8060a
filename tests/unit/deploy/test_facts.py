"""The fold over the log: the same events give the same facts, now or after a restart."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from coppice import errors, records
from deploy import facts
from deploy.backends.base import RouteState
from tests.support import rollouts
from tests.support.rollouts import BEGUN, MODEL, A, B, C, D, event


def folded(*found: records.Record, since: float = 0.0) -> facts.Facts:
    return of(history([event(record) for record in found], since=since))


def history(events: Sequence[records.Event], since: float = 0.0) -> facts.History:
    made = facts.History(MODEL, since=since)
    list(map(made.add, events))
    return made


def told(*found: records.Record) -> facts.History:
    return history([event(record) for record in found])


def of(made: facts.History) -> facts.Facts:
    return made.facts(route=RouteState(None), parents={})


class TestState:
    def test_there_is_none_before_the_first_rollout_event(self) -> None:
        assert history([]).state is None

    def test_the_latest_rollout_event_is_the_state(self) -> None:
        made = history([event(rollouts.shadow()), event(rollouts.canary())])
        assert made.state == rollouts.canary()

    def test_events_of_other_models_are_passed_over(self) -> None:
        foreign = msgspec.structs.replace(rollouts.shadow(), model="other")
        assert history([event(foreign)]).state is None

    def test_an_event_that_does_not_decode_changes_nothing(self) -> None:
        broken = msgspec.structs.replace(event(rollouts.shadow()), data=b"\xc1")
        made = facts.History(MODEL)
        with pytest.raises(errors.UndecodableEvent):
            made.add(broken)
        assert made.state is None


class TestWaiting:
    def test_the_newest_accepted_candidate_waits(self) -> None:
        seen = folded(rollouts.state(), rollouts.candidate(B), rollouts.candidate(C))
        assert seen.waiting is not None
        assert seen.waiting.record.version == C
        assert seen.passed_over == (B,)

    def test_a_forced_candidate_waits_too(self) -> None:
        seen = folded(rollouts.state(), rollouts.candidate(B, "forced"))
        assert seen.waiting is not None

    def test_a_refused_candidate_does_not(self) -> None:
        assert folded(rollouts.state(), rollouts.candidate(B, "refused")).waiting is None

    def test_a_refused_one_does_not_hide_an_accepted_one(self) -> None:
        seen = folded(rollouts.state(), rollouts.candidate(B), rollouts.candidate(C, "refused"))
        assert seen.waiting is not None
        assert seen.waiting.record.version == B

    def test_a_candidate_that_was_taken_up_waits_no_more_nor_do_older_ones(self) -> None:
        seen = folded(
            rollouts.state(),
            rollouts.candidate(C),
            rollouts.candidate(B),
            rollouts.shadow(),
        )
        assert (seen.waiting, seen.passed_over) == (None, ())

    def test_a_candidate_that_came_during_the_decision_still_waits(self) -> None:
        # C was written after the controller had read B and before it wrote that B started.
        seen = folded(
            rollouts.state(), rollouts.candidate(B), rollouts.candidate(C), rollouts.shadow()
        )
        assert seen.waiting is not None
        assert seen.waiting.record.version == C

    @pytest.mark.parametrize("version", [A, B])
    def test_a_version_that_plays_a_part_already_does_not_wait(self, version: str) -> None:
        assert folded(rollouts.shadow(), rollouts.candidate(version)).waiting is None

    def test_a_version_that_was_rolled_back_may_be_offered_again(self) -> None:
        gone = rollouts.state(outcome="rolled-back")
        seen = folded(rollouts.candidate(B), rollouts.shadow(), gone, rollouts.candidate(B))
        assert seen.waiting is not None

    def test_the_first_champion_waits_no_more(self) -> None:
        first = rollouts.state(champion=B)
        assert folded(rollouts.candidate(A), rollouts.candidate(B), first).waiting is None

    def test_a_promotion_leaves_who_came_meanwhile(self) -> None:
        seen = folded(rollouts.shadow(), rollouts.candidate(C), rollouts.watch())
        assert seen.waiting is not None
        assert seen.waiting.record.version == C


class TestVerdict:
    def test_the_newest_verdict_on_the_candidate_counts(self) -> None:
        seen = folded(rollouts.shadow(), rollouts.verdict("undecided"), rollouts.verdict("promote"))
        assert seen.verdict is not None
        assert seen.verdict.record.kind == "promote"

    def test_it_stays_valid_through_the_steps(self) -> None:
        seen = folded(rollouts.shadow(), rollouts.verdict("promote"), rollouts.canary())
        assert seen.verdict is not None

    @pytest.mark.parametrize(
        "verdict",
        [
            rollouts.verdict("rollback", C),
            rollouts.verdict("rollback", against=D),
            rollouts.verdict("rollback", scope="champion"),
        ],
    )
    def test_a_verdict_on_another_pair_does_not_count(self, verdict: records.Verdict) -> None:
        assert folded(rollouts.shadow(), verdict).verdict is None

    def test_one_slice_can_condemn(self) -> None:
        seen = folded(rollouts.shadow(), rollouts.verdict("rollback", slice="pen=ink"))
        assert seen.verdict is not None

    @pytest.mark.parametrize("kind", ["promote", "undecided"])
    def test_one_slice_cannot_clear(self, kind: str) -> None:
        good = rollouts.verdict(kind, slice="pen=ink")
        assert folded(rollouts.shadow(), good).verdict is None

    def test_a_verdict_against_the_champion_counts(self) -> None:
        assert folded(rollouts.shadow(), rollouts.verdict("promote", against=A)).verdict

    def test_a_verdict_from_an_earlier_rollout_of_the_same_version_does_not_count(self) -> None:
        gone = rollouts.state(outcome="rolled-back")
        seen = folded(rollouts.shadow(), rollouts.verdict("rollback"), gone, rollouts.shadow())
        assert seen.verdict is None

    def test_a_verdict_before_the_first_champion_does_not_count(self) -> None:
        assert folded(rollouts.verdict("promote"), rollouts.shadow()).verdict is None


class TestHealth:
    def test_the_newest_verdict_on_the_champion_counts(self) -> None:
        healthy = rollouts.verdict("healthy", B, scope="champion")
        seen = folded(rollouts.watch(), rollouts.decay(), healthy)
        assert seen.health is not None
        assert seen.health.record.kind == "healthy"

    def test_it_outlives_the_watch(self) -> None:
        settled = rollouts.state(champion=B, previous=A, outcome="settled")
        assert folded(rollouts.watch(), rollouts.decay(), settled).health is not None

    def test_a_verdict_on_an_earlier_champion_does_not_count(self) -> None:
        assert folded(rollouts.watch(), rollouts.decay(A)).health is None

    def test_a_new_champion_starts_without_one(self) -> None:
        back = rollouts.state(outcome="rolled-back")
        again = rollouts.watch(outcome="promoted")
        assert folded(rollouts.watch(), rollouts.decay(), back, again).health is None


class TestCommands:
    def test_the_oldest_unanswered_command_comes_first(self) -> None:
        seen = folded(rollouts.shadow(), rollouts.command("pause"), rollouts.command("abort"))
        assert seen.command is not None
        assert seen.command.record.action == "pause"

    def test_an_answered_command_is_done_with(self) -> None:
        pause, abort = event(rollouts.command("pause")), event(rollouts.command("abort"))
        paused = rollouts.shadow(outcome="paused", paused=True, trigger=pause.id)
        seen = of(history([event(rollouts.shadow()), pause, abort, event(paused)]))
        assert seen.command is not None
        assert seen.command.id == abort.id

    def test_a_refusal_answers_a_command(self) -> None:
        resume = event(rollouts.command("resume"))
        refused = rollouts.shadow(outcome="refused", trigger=resume.id)
        assert of(history([event(rollouts.shadow()), resume, event(refused)])).command is None

    def test_a_step_for_another_reason_leaves_the_command(self) -> None:
        seen = folded(
            rollouts.shadow(), rollouts.command("pause"), rollouts.canary(trigger="a verdict")
        )
        assert seen.command is not None

    def test_a_command_from_before_the_first_champion_is_dropped(self) -> None:
        assert folded(rollouts.command("promote"), rollouts.state()).command is None


class TestTraffic:
    def test_answers_of_the_candidate_are_counted(self) -> None:
        seen = folded(rollouts.canary(), rollouts.answer(B), rollouts.answer(A), rollouts.answer(B))
        assert seen.answered == 2

    def test_a_new_step_counts_from_nought(self) -> None:
        wider = rollouts.canary(0.5, 1, since=BEGUN + 60)
        seen = folded(rollouts.canary(), rollouts.answer(), wider, rollouts.answer())
        assert seen.answered == 1

    def test_a_pause_keeps_the_count(self) -> None:
        paused = rollouts.canary(paused=True)
        assert folded(rollouts.canary(), rollouts.answer(), paused).answered == 1

    def test_failed_answers_are_not_answers(self) -> None:
        seen = folded(rollouts.canary(), rollouts.answer(error="no"))
        assert (seen.answered, seen.failures) == (0, 1)

    def test_answers_that_stable_gave_in_its_place_are_failures(self) -> None:
        fallback = rollouts.answer(A, fallback="timeout", fallback_version=B)
        seen = folded(rollouts.canary(), fallback, fallback)
        assert (seen.answered, seen.failures) == (0, 2)

    def test_failed_shadows_are_failures(self) -> None:
        seen = folded(rollouts.shadow(), rollouts.mirrored(error="no"), rollouts.mirrored(A, "no"))
        assert seen.failures == 1

    def test_only_failures_in_a_row_add_up(self) -> None:
        failed, good = rollouts.mirrored(error="no"), rollouts.mirrored()
        # Runs of 2 and 1: the longest counts.
        assert folded(rollouts.shadow(), failed, failed, good, failed).failures == 2

    def test_a_run_that_reached_the_guard_is_not_forgotten(self) -> None:
        failed = [rollouts.mirrored(error="no")] * 5
        assert folded(rollouts.shadow(), *failed, rollouts.mirrored()).failures == 5

    def test_a_new_candidate_starts_without_failures(self) -> None:
        other = rollouts.shadow(candidate=C)
        seen = folded(rollouts.shadow(), rollouts.mirrored(error="no"), rollouts.state(), other)
        assert seen.failures == 0

    def test_traffic_without_a_candidate_does_not_count(self) -> None:
        seen = folded(rollouts.answer(B), rollouts.state(), rollouts.answer(B))
        assert (seen.answered, seen.failures) == (0, 0)

    def test_traffic_from_before_the_stage_is_not_even_decoded(self) -> None:
        broken = msgspec.structs.replace(event(rollouts.answer(), time=BEGUN - 1), data=b"\xc1")
        made = history([event(rollouts.canary()), broken], since=BEGUN)
        assert of(made).answered == 0


class TestTheTrial:
    def test_verdicts_on_the_candidate_are_kept_by_slice(self) -> None:
        bad = rollouts.verdict("rollback", slice="pen=ink")
        good, newer = rollouts.verdict("undecided"), rollouts.verdict("promote")
        made = told(rollouts.shadow(), good, bad, newer)
        assert made.trial.verdicts == {"all": newer, "pen=ink": bad}

    def test_a_new_rollout_begins_without_any(self) -> None:
        again = rollouts.shadow(since=2000.0)
        made = told(rollouts.shadow(), rollouts.verdict("promote"), again)
        assert (made.trial.verdicts, made.trial.since) == ({}, 2000.0)

    def test_a_step_of_the_same_rollout_keeps_them(self) -> None:
        canary = rollouts.canary(since=2000.0)
        made = told(rollouts.shadow(), rollouts.verdict("promote"), canary)
        assert set(made.trial.verdicts) == {"all"}
        assert made.trial.since == rollouts.BEGUN

    def test_an_operators_promotion_is_remembered_until_it_is_done(self) -> None:
        by_hand, wider = rollouts.canary(actor="ada"), rollouts.canary(0.5)
        made = told(rollouts.shadow(), by_hand, wider)
        assert made.trial.promoted_by == "ada"
        made.add(event(rollouts.watch()))
        assert made.trial.promoted_by is None

    def test_a_version_that_was_rolled_back_is_named_with_the_reason(self) -> None:
        back = rollouts.state(outcome="rolled-back", reason="worse")
        assert told(rollouts.shadow(), back).dropped == {B: "worse"}

    def test_when_the_previous_returns_both_others_are_named(self) -> None:
        watch = rollouts.watch(candidate=C)
        back = rollouts.state(outcome="rolled-back", reason="decay")
        assert told(watch, back).dropped == {B: "decay", C: "decay"}

    def test_a_version_that_is_tried_again_is_not_held_against_itself(self) -> None:
        back = rollouts.state(outcome="rolled-back", reason="worse")
        assert told(rollouts.shadow(), back, rollouts.shadow()).dropped == {}

    def test_the_newest_event_is_known_by_its_time(self) -> None:
        made = history([event(rollouts.shadow(), 9.0), event(rollouts.verdict("promote"), 7.0)])
        assert made.newest == 9.0
