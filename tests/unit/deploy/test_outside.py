"""Where another tool moves the traffic, the rollout follows it, and safety stays ours."""

from __future__ import annotations

from typing import Any

import pytest

from coppice import records
from deploy import facts, plan
from deploy.backends.base import Tool
from deploy.policy import Policy
from tests.support import rollouts
from tests.support.rollouts import BEGUN, A, B, canary, known, noted, shadow, watch

POLICY = Policy(steps=(), shadow_seconds=3600.0, watch_seconds=600.0, outside=True)
PROMOTE = noted(rollouts.verdict("promote"))
IN_HAND = Tool("progressing", 0.0)
TENTH = Tool("progressing", 0.1)


def step(
    state: records.Rollout, seen: facts.Facts, now: float = BEGUN, policy: Any = POLICY
) -> plan.Step:
    found = plan.plan(state, seen, policy, now)
    assert found is not None
    return found


def nothing(state: records.Rollout, seen: facts.Facts, now: float = BEGUN) -> bool:
    return plan.plan(state, seen, POLICY, now) is None


def test_a_candidate_begins_without_traffic() -> None:
    idle = rollouts.state()
    begun = step(idle, known(idle, waiting=noted(rollouts.candidate()), tool=IN_HAND))
    assert (begun.rollout.stage, begun.rollout.candidate) == ("shadow", B)
    assert begun.table.weight == 0.0


def test_traffic_that_the_tool_moves_becomes_the_state() -> None:
    widened = step(shadow(), known(shadow(), tool=TENTH), now=2000.0)
    assert (widened.rollout.stage, widened.rollout.weight) == ("canary", 0.1)
    assert widened.rollout.since == 2000.0
    assert widened.table.weight == 0.1


def test_the_same_weight_again_is_no_news() -> None:
    assert nothing(canary(), known(canary(), tool=TENTH))


def test_a_promote_verdict_waits_for_the_tool_to_ask() -> None:
    assert nothing(canary(), known(canary(), tool=TENTH, verdict=PROMOTE), now=3000.0)


def test_a_candidate_with_all_traffic_is_champion_and_is_watched() -> None:
    seen = known(canary(), tool=Tool("promoted", 1.0), verdict=PROMOTE)
    promoted = step(canary(), seen, now=2000.0)
    assert (promoted.rollout.stage, promoted.rollout.outcome) == ("watch", "promoted")
    assert (promoted.rollout.champion, promoted.rollout.previous) == (B, A)
    assert promoted.aliases == {"champion": B, "previous": A, "candidate": None}


def test_what_the_tool_promoted_before_the_trial_is_no_promotion() -> None:
    idle = rollouts.state()
    assert nothing(idle, known(idle, tool=Tool("promoted", 0.0)))


def test_a_candidate_that_the_tool_aborted_goes_and_the_reason_is_kept() -> None:
    seen = known(canary(), tool=Tool("aborted", 0.0, "metric error-rate failed"))
    dropped = step(canary(), seen)
    assert (dropped.rollout.stage, dropped.rollout.outcome) == ("idle", "rolled-back")
    assert dropped.rollout.reason == "the rollout tool aborted: metric error-rate failed"
    assert (dropped.table.champion, dropped.table.candidate) == (A, None)


def test_an_abort_that_was_answered_is_not_answered_again() -> None:
    idle = rollouts.state()
    assert nothing(idle, known(idle, tool=Tool("aborted", 0.0, "RolloutAborted")))


def test_a_rollback_verdict_does_not_wait_for_the_tool() -> None:
    seen = known(canary(), tool=TENTH, verdict=noted(rollouts.verdict("rollback")))
    dropped = step(canary(), seen)
    assert dropped.rollout.outcome == "rolled-back"
    assert dropped.table.candidate is None
    assert dropped.steer is None


def test_a_promoted_version_that_decays_makes_room_for_the_previous_one() -> None:
    seen = known(watch(), tool=Tool("promoted", 1.0), health=noted(rollouts.decay(B)))
    back = step(watch(), seen)
    assert (back.rollout.champion, back.table.champion) == (A, A)


def test_a_trial_without_evidence_ends_by_time() -> None:
    # shadow_seconds is 3600 and the stage began at 1000.
    ended = step(shadow(), known(shadow(), tool=IN_HAND), now=4600.0)
    assert "want of evidence" in ended.rollout.reason


def test_a_promote_verdict_keeps_a_slow_tool_from_losing_its_candidate() -> None:
    assert nothing(canary(), known(canary(), tool=TENTH, verdict=PROMOTE), now=9000.0)


def test_an_operator_who_promotes_is_obeyed_by_the_tool() -> None:
    command = noted(rollouts.command("promote"), "command-1")
    told = step(canary(), known(canary(), tool=TENTH, command=command))
    assert told.steer == "promote"
    # It is champion only once the tool has moved the traffic.
    assert (told.rollout.stage, told.rollout.champion) == ("canary", A)
    assert (told.rollout.trigger, told.rollout.actor) == ("command-1", "ada")


@pytest.mark.parametrize(
    ("state", "action"),
    [(canary(), "pause"), (canary(paused=True), "resume")],
)
def test_pause_and_resume_reach_the_tool(state: records.Rollout, action: Any) -> None:
    command = noted(rollouts.command(action))
    told = step(state, known(state, tool=TENTH, command=command))
    assert told.steer == action
    assert told.rollout.paused == (action == "pause")


def test_an_operator_who_aborts_is_obeyed_by_the_routes() -> None:
    told = step(canary(), known(canary(), tool=TENTH, command=noted(rollouts.command("abort"))))
    assert told.steer is None
    assert told.table.candidate is None


def test_a_command_that_does_not_fit_is_not_passed_on() -> None:
    command = noted(rollouts.command("resume"))
    told = step(canary(), known(canary(), tool=TENTH, command=command))
    assert told.rollout.outcome == "refused"
    assert told.steer is None


def test_where_we_move_the_traffic_nobody_is_told() -> None:
    ours = Policy()
    command = noted(rollouts.command("pause"))
    told = step(canary(), known(canary(), command=command), policy=ours)
    assert told.steer is None
