"""Every transition of the state machine, and every one that must not happen."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from coppice import errors, records
from deploy import facts, plan, tables
from deploy.policy import Policy
from tests.support import rollouts
from tests.support.rollouts import BEGUN, PARENT, A, B, C, canary, known, noted, shadow, watch

POLICY = Policy(
    steps=(0.1, 0.5),
    step_seconds=60.0,
    step_requests=100,
    shadow_seconds=3600.0,
    watch_seconds=600.0,
    crash_guard=5,
)
MANUAL = dataclasses.replace(POLICY, auto=False)
PROMOTE = noted(rollouts.verdict("promote"))
ROLLBACK = noted(rollouts.verdict("rollback"))
UNDECIDED = noted(rollouts.verdict("undecided"))


def after(
    state: records.Rollout | None, seen: facts.Facts, now: float = BEGUN, policy: Any = POLICY
) -> records.Rollout:
    step = plan.plan(state, seen, policy, now)
    assert step is not None
    return step.rollout


def nothing(
    state: records.Rollout | None, seen: facts.Facts, now: float = BEGUN, policy: Any = POLICY
) -> bool:
    return plan.plan(state, seen, policy, now) is None


class TestFirstChampion:
    def test_nothing_happens_before_the_first_candidate(self) -> None:
        assert nothing(None, known(None))

    @pytest.mark.parametrize("status", ["accepted", "forced"])
    def test_the_first_candidate_becomes_champion_at_once(self, status: str) -> None:
        seen = known(None, waiting=noted(rollouts.candidate(B, status)))
        step = plan.plan(None, seen, POLICY, BEGUN)
        assert step is not None
        assert (step.rollout.stage, step.rollout.champion) == ("idle", B)
        assert (step.rollout.outcome, step.rollout.generation) == ("promoted", 1)
        assert step.table.generation == 1
        assert step.aliases == {"champion": B, "previous": None, "candidate": None}

    def test_the_first_champion_does_not_wait_for_an_operator(self) -> None:
        seen = known(None, waiting=noted(rollouts.candidate()))
        assert after(None, seen, policy=MANUAL).champion == B

    def test_a_version_that_the_registry_lacks_does_not_become_champion(self) -> None:
        seen = known(None, waiting=noted(rollouts.candidate()), parents={})
        assert nothing(None, seen)

    def test_a_command_before_the_first_champion_changes_nothing(self) -> None:
        assert nothing(None, known(None, command=noted(rollouts.command("abort"))))

    def test_a_table_that_lies_there_already_is_replaced_by_a_newer_generation(self) -> None:
        waiting = noted(rollouts.candidate())
        seen = known(None, waiting=waiting, table=rollouts.table(7, champion=A))
        assert after(None, seen).generation == 8


class TestIdle:
    def test_nothing_happens_while_nothing_waits(self) -> None:
        assert nothing(rollouts.state(), known(rollouts.state()))

    def test_a_waiting_candidate_enters_shadow_without_weight(self) -> None:
        seen = known(rollouts.state(), waiting=noted(rollouts.candidate(), "event-7"))
        step = plan.plan(rollouts.state(), seen, POLICY, 2000.0)
        assert step is not None
        assert (step.rollout.stage, step.rollout.candidate) == ("shadow", B)
        assert (step.rollout.since, step.rollout.trigger) == (2000.0, "event-7")
        assert (step.table.weight, step.table.mirror) == (0.0, 1.0)
        assert step.aliases["candidate"] == B

    def test_shadow_needs_no_operator_because_no_client_sees_it(self) -> None:
        seen = known(rollouts.state(), waiting=noted(rollouts.candidate()))
        assert after(rollouts.state(), seen, policy=MANUAL).stage == "shadow"

    def test_versions_that_are_passed_over_are_named(self) -> None:
        seen = known(rollouts.state(), waiting=noted(rollouts.candidate(C)), passed_over=(B,))
        assert f"passed over for it: {B}" in after(rollouts.state(), seen).reason

    def test_a_forced_candidate_is_named_as_such(self) -> None:
        seen = known(rollouts.state(), waiting=noted(rollouts.candidate(status="forced")))
        assert "forced past its gates" in after(rollouts.state(), seen).reason

    def test_a_candidate_that_the_registry_lacks_does_not_start(self) -> None:
        seen = known(rollouts.state(), waiting=noted(rollouts.candidate("tiny:gone")))
        assert nothing(rollouts.state(), seen)


class TestShadow:
    def test_a_promote_verdict_opens_the_first_canary_step(self) -> None:
        step = plan.plan(shadow(), known(shadow(), verdict=PROMOTE), POLICY, 1500.0)
        assert step is not None
        assert (step.rollout.stage, step.rollout.weight, step.rollout.step) == ("canary", 0.1, 0)
        assert step.rollout.since == 1500.0
        assert (step.table.candidate, step.table.weight) == (B, 0.1)

    def test_shadow_needs_neither_time_nor_answered_requests(self) -> None:
        seen = known(shadow(), verdict=PROMOTE, answered=0)
        assert after(shadow(), seen, now=BEGUN).stage == "canary"

    def test_without_canary_steps_a_promote_verdict_promotes(self) -> None:
        policy = dataclasses.replace(POLICY, steps=())
        moved = after(shadow(), known(shadow(), verdict=PROMOTE), policy=policy)
        assert (moved.stage, moved.champion) == ("watch", B)

    @pytest.mark.parametrize("verdict", [None, UNDECIDED])
    def test_an_undecided_candidate_stays(self, verdict: Any) -> None:
        assert nothing(shadow(), known(shadow(), verdict=verdict), now=BEGUN + 3599.0)

    @pytest.mark.parametrize("verdict", [None, UNDECIDED])
    def test_a_candidate_goes_for_want_of_evidence(self, verdict: Any) -> None:
        moved = after(shadow(), known(shadow(), verdict=verdict), now=BEGUN + 3600.0)
        assert (moved.stage, moved.outcome, moved.champion) == ("idle", "rolled-back", A)
        assert "want of evidence" in moved.reason

    def test_a_new_candidate_waits_until_this_one_is_decided(self) -> None:
        seen = known(shadow(), waiting=noted(rollouts.candidate(C)))
        assert nothing(shadow(), seen)


class TestCanary:
    ripe = BEGUN + 60.0

    def test_a_step_widens_after_its_time_and_its_requests(self) -> None:
        seen = known(canary(), verdict=PROMOTE, answered=100)
        moved = after(canary(), seen, now=self.ripe)
        assert (moved.stage, moved.weight, moved.step) == ("canary", 0.5, 1)

    def test_a_step_does_not_widen_before_its_time(self) -> None:
        seen = known(canary(), verdict=PROMOTE, answered=1000)
        assert nothing(canary(), seen, now=BEGUN + 59.9)

    def test_a_step_does_not_widen_before_its_requests(self) -> None:
        seen = known(canary(), verdict=PROMOTE, answered=99)
        assert nothing(canary(), seen, now=BEGUN + 1e6)

    def test_a_step_does_not_widen_when_the_evidence_is_gone(self) -> None:
        seen = known(canary(), verdict=UNDECIDED, answered=1000)
        assert nothing(canary(), seen, now=self.ripe)

    def test_a_candidate_whose_evidence_stays_away_goes(self) -> None:
        seen = known(canary(), verdict=UNDECIDED, answered=1000)
        assert after(canary(), seen, now=BEGUN + 3600.0).outcome == "rolled-back"

    def test_the_last_step_is_followed_by_promotion(self) -> None:
        last = canary(weight=0.5, step=1)
        seen = known(last, verdict=PROMOTE, answered=100)
        step = plan.plan(last, seen, POLICY, self.ripe)
        assert step is not None
        assert (step.rollout.stage, step.rollout.champion) == ("watch", B)
        assert (step.rollout.previous, step.rollout.candidate) == (A, None)
        assert (step.table.champion, step.table.weight, step.table.previous) == (B, 0.0, A)
        assert step.aliases == {"champion": B, "previous": A, "candidate": None}

    def test_steps_that_were_changed_meanwhile_never_narrow_the_lane(self) -> None:
        # The settings now say 0.05 and 0.2, but the candidate has 0.1 already: 0.2 is next.
        policy = dataclasses.replace(POLICY, steps=(0.05, 0.2))
        seen = known(canary(), verdict=PROMOTE, answered=100)
        assert after(canary(), seen, now=self.ripe, policy=policy).weight == 0.2


class TestWatch:
    def test_a_champion_settles_after_the_watch(self) -> None:
        step = plan.plan(watch(), known(watch()), POLICY, BEGUN + 600.0)
        assert step is not None
        assert (step.rollout.stage, step.rollout.outcome) == ("idle", "settled")
        assert step.rollout.previous == A
        assert step.table.previous is None

    def test_a_champion_does_not_settle_early(self) -> None:
        assert nothing(watch(), known(watch()), now=BEGUN + 599.0)

    def test_a_waiting_candidate_waits_for_the_end_of_the_watch(self) -> None:
        seen = known(watch(), waiting=noted(rollouts.candidate(C)))
        assert nothing(watch(), seen)


class TestSafety:
    @pytest.mark.parametrize("state", [shadow(), canary(), canary(0.5, 1)])
    @pytest.mark.parametrize("paused", [False, True])
    @pytest.mark.parametrize("policy", [POLICY, MANUAL])
    def test_a_rollback_verdict_drops_the_candidate(
        self, state: records.Rollout, *, paused: bool, policy: Policy
    ) -> None:
        held = msgspec.structs.replace(state, paused=paused)
        step = plan.plan(held, known(held, verdict=ROLLBACK), policy, BEGUN)
        assert step is not None
        assert (step.rollout.stage, step.rollout.champion) == ("idle", A)
        assert (step.rollout.candidate, step.rollout.weight) == (None, 0.0)
        assert step.rollout.paused is False
        assert (step.table.candidate, step.table.weight) == (None, 0.0)

    @pytest.mark.parametrize("state", [shadow(), canary(), shadow(paused=True)])
    def test_the_crash_guard_drops_the_candidate(self, state: records.Rollout) -> None:
        moved = after(state, known(state, failures=5))
        assert moved.outcome == "rolled-back"
        assert "failed 5 times in a row" in moved.reason

    def test_fewer_failures_than_the_guard_do_not(self) -> None:
        assert nothing(shadow(), known(shadow(), failures=4))

    def test_a_candidate_that_left_the_registry_is_dropped(self) -> None:
        seen = known(canary(), parents={A: PARENT})
        assert "cannot be found" in after(canary(), seen).reason

    @pytest.mark.parametrize("policy", [POLICY, MANUAL])
    @pytest.mark.parametrize(
        "state", [watch(), watch(paused=True), rollouts.state(champion=B, previous=A)]
    )
    def test_a_bad_release_brings_the_previous_champion_back(
        self, state: records.Rollout, policy: Policy
    ) -> None:
        health = noted(rollouts.decay(), "event-9")
        step = plan.plan(state, known(state, health=health), policy, 2000.0)
        assert step is not None
        assert (step.rollout.stage, step.rollout.champion) == ("idle", A)
        assert (step.rollout.outcome, step.rollout.trigger) == ("rolled-back", "event-9")
        assert step.table.champion == A
        assert step.aliases["champion"] == A

    def test_what_was_removed_is_not_kept_as_previous(self) -> None:
        moved = after(watch(), known(watch(), health=noted(rollouts.decay())))
        assert moved.previous is None

    @pytest.mark.parametrize("cause", ["pruning", "world", "undecided"])
    def test_decay_of_another_cause_is_left_to_retraining(self, cause: str) -> None:
        assert nothing(watch(), known(watch(), health=noted(rollouts.decay(cause=cause))))

    def test_a_bad_release_without_a_previous_champion_changes_nothing(self) -> None:
        state = rollouts.state(champion=B)
        assert nothing(state, known(state, health=noted(rollouts.decay())))

    def test_a_previous_champion_that_left_the_registry_cannot_return(self) -> None:
        state = rollouts.state(champion=B, previous="tiny:gone")
        assert nothing(state, known(state, health=noted(rollouts.decay())))

    def test_a_bad_release_takes_the_candidate_with_it(self) -> None:
        state = shadow(champion=B, previous=A, candidate=C)
        moved = after(state, known(state, health=noted(rollouts.decay())))
        assert (moved.champion, moved.candidate) == (A, None)
        assert C in moved.reason

    def test_safety_comes_before_a_command(self) -> None:
        seen = known(canary(), verdict=ROLLBACK, command=noted(rollouts.command("promote")))
        assert after(canary(), seen).outcome == "rolled-back"


class TestCommands:
    @pytest.mark.parametrize(
        "state", [shadow(), canary(), canary(paused=True), canary(0.5, 1, paused=True)]
    )
    @pytest.mark.parametrize("policy", [POLICY, MANUAL])
    def test_promote_promotes_right_away_and_says_who_asked(
        self, state: records.Rollout, policy: Policy
    ) -> None:
        seen = known(state, command=noted(rollouts.command("promote"), "event-3"))
        moved = after(state, seen, policy=policy)
        assert (moved.stage, moved.champion, moved.previous) == ("watch", B, A)
        assert (moved.actor, moved.trigger, moved.paused) == ("ada", "event-3", False)

    @pytest.mark.parametrize("state", [shadow(), canary(), shadow(paused=True)])
    def test_abort_drops_the_candidate(self, state: records.Rollout) -> None:
        moved = after(state, known(state, command=noted(rollouts.command("abort"))))
        assert (moved.stage, moved.champion, moved.candidate) == ("idle", A, None)
        assert (moved.outcome, moved.actor) == ("rolled-back", "ada")

    def test_abort_of_a_watched_champion_brings_the_previous_one_back(self) -> None:
        moved = after(watch(), known(watch(), command=noted(rollouts.command("abort"))))
        assert (moved.stage, moved.champion, moved.previous) == ("idle", A, None)

    @pytest.mark.parametrize("state", [shadow(), canary(), watch()])
    def test_pause_holds_everything_but_safety(self, state: records.Rollout) -> None:
        paused = after(state, known(state, command=noted(rollouts.command("pause"))))
        assert (paused.outcome, paused.paused) == ("paused", True)
        assert (paused.stage, paused.weight, paused.since) == (state.stage, state.weight, BEGUN)
        assert nothing(paused, known(paused, verdict=PROMOTE, answered=1000), now=1e9)

    def test_resume_begins_the_stage_anew(self) -> None:
        state = shadow(paused=True)
        seen = known(state, command=noted(rollouts.command("resume")))
        resumed = after(state, seen, now=9000.0)
        assert (resumed.outcome, resumed.paused, resumed.since) == ("resumed", False, 9000.0)
        # The hour in shadow counts from the resumption, not from before the pause.
        assert nothing(resumed, known(resumed), now=9000.0 + 3599.0)

    def test_the_operators_reason_is_kept(self) -> None:
        wish = records.Command(model="tiny", action="abort", actor="ada", reason="looks odd")
        assert after(shadow(), known(shadow(), command=noted(wish))).reason == "looks odd"

    @pytest.mark.parametrize(
        ("state", "action", "words"),
        [
            (rollouts.state(), "promote", "no rollout is running"),
            (rollouts.state(), "abort", "no rollout is running"),
            (rollouts.state(), "pause", "no rollout is running"),
            (rollouts.state(), "resume", "no rollout is running"),
            (watch(), "promote", "promoted already"),
            (shadow(paused=True), "pause", "paused already"),
            (watch(paused=True), "pause", "paused already"),
            (shadow(), "resume", "not paused"),
            (canary(), "resume", "not paused"),
        ],
    )
    def test_a_command_that_does_not_fit_is_refused_and_changes_nothing(
        self, state: records.Rollout, action: Any, words: str
    ) -> None:
        seen = known(state, command=noted(rollouts.command(action), "event-5"))
        step = plan.plan(state, seen, POLICY, 2000.0)
        assert step is not None
        assert (step.rollout.outcome, step.rollout.trigger) == ("refused", "event-5")
        assert words in step.rollout.reason
        assert step.table == seen.table
        unchanged = ("stage", "champion", "candidate", "weight", "paused", "since", "generation")
        assert [getattr(step.rollout, name) for name in unchanged] == [
            getattr(state, name) for name in unchanged
        ]
        with pytest.raises(errors.RolloutError, match=words):
            plan.check(state, action)

    @pytest.mark.parametrize("action", ["promote", "abort", "pause", "resume"])
    def test_before_the_first_champion_every_command_is_refused(self, action: Any) -> None:
        with pytest.raises(errors.RolloutError, match="no champion yet"):
            plan.check(None, action)

    @pytest.mark.parametrize(
        ("state", "action"),
        [
            (shadow(), "promote"),
            (canary(), "abort"),
            (watch(), "abort"),
            (watch(), "pause"),
            (canary(paused=True), "resume"),
        ],
    )
    def test_a_command_that_fits_passes_the_check(
        self, state: records.Rollout, action: Any
    ) -> None:
        plan.check(state, action)


class TestWithoutAuto:
    @pytest.mark.parametrize("state", [shadow(), canary(), canary(0.5, 1)])
    def test_verdicts_do_not_move_a_rollout(self, state: records.Rollout) -> None:
        seen = known(state, verdict=PROMOTE, answered=1000)
        assert nothing(state, seen, now=1e9, policy=MANUAL)

    def test_want_of_evidence_does_not_end_it(self) -> None:
        assert nothing(shadow(), known(shadow()), now=1e9, policy=MANUAL)


class TestRoutingTable:
    def test_each_new_table_is_one_generation_newer_than_the_world(self) -> None:
        held = shadow(generation=4)
        step = plan.plan(held, known(held, verdict=PROMOTE), POLICY, BEGUN)
        assert step is not None
        assert (step.table.generation, step.rollout.generation) == (5, 5)

    def test_a_table_that_is_there_already_is_not_written_again(self) -> None:
        # Killed between traffic and event: the world is at generation 5, the state still at 4.
        held = shadow(generation=4)
        world = tables.table_of(canary(generation=5), rollouts.PARENTS, POLICY)
        step = plan.plan(held, known(held, verdict=PROMOTE, table=world), POLICY, BEGUN)
        assert step is not None
        assert step.table == world
        assert step.rollout.generation == 5

    def test_a_missing_table_is_written_again(self) -> None:
        held = canary(generation=4)
        step = plan.plan(held, known(held, table=None), POLICY, BEGUN)
        assert step is not None
        assert (step.rollout.outcome, step.table.generation) == ("repaired", 5)
        assert (step.table.weight, step.rollout.since) == (0.1, BEGUN)

    def test_a_restored_older_table_is_written_again(self) -> None:
        held = canary(generation=4)
        step = plan.plan(held, known(held, table=rollouts.table(2)), POLICY, BEGUN)
        assert step is not None
        assert (step.rollout.outcome, step.table.generation) == ("repaired", 5)

    def test_changed_mirror_rates_take_effect(self) -> None:
        policy = dataclasses.replace(POLICY, mirror=0.25)
        step = plan.plan(shadow(), known(shadow()), policy, BEGUN)
        assert step is not None
        assert (step.rollout.outcome, step.table.mirror) == ("repaired", 0.25)

    def test_somebody_elses_newer_table_stands_until_the_next_step(self) -> None:
        held = canary(generation=4)
        theirs = rollouts.table(9, candidate=B, weight=0.3)
        assert nothing(held, known(held, table=theirs))
        step = plan.plan(held, known(held, table=theirs, verdict=ROLLBACK), POLICY, BEGUN)
        assert step is not None
        assert step.table.generation == 10

    def test_an_alias_of_a_version_that_is_gone_is_removed(self) -> None:
        held = rollouts.state(champion=B, previous="tiny:gone")
        step = plan.plan(held, known(held, table=None), POLICY, BEGUN)
        assert step is not None
        assert step.aliases["previous"] is None


class TestEdited:
    def test_a_newer_table_of_somebody_else_is_an_edit(self) -> None:
        held = canary(generation=4)
        seen = known(held, table=rollouts.table(5, candidate=B, weight=0.3))
        assert plan.edited(held, seen, POLICY, None)

    def test_our_own_unfinished_step_is_none(self) -> None:
        held = shadow(generation=4)
        world = tables.table_of(canary(generation=5), rollouts.PARENTS, POLICY)
        seen = known(held, table=world, verdict=PROMOTE)
        assert not plan.edited(held, seen, POLICY, plan.plan(held, seen, POLICY, BEGUN))

    @pytest.mark.parametrize("table", [None, rollouts.table(4), rollouts.table(3)])
    def test_a_missing_or_older_table_is_none(self, table: Any) -> None:
        held = canary(generation=4)
        assert not plan.edited(held, known(held, table=table), POLICY, None)
