"""What each move makes of the state; when it is made is tried in test_plan.py."""

from __future__ import annotations

import msgspec
import pytest

from coppice import records
from deploy import moves
from deploy.moves import Moment, Why
from deploy.policy import Policy
from tests.support import rollouts
from tests.support.rollouts import PARENT, A, B

NOW = rollouts.BEGUN + 90.0
WHY = Why("it is better", trigger="event-7", actor="ada")
NOBODY_ON_TRIAL = (None, 0.0, 0, False)

ON_TRIAL = records.Rollout(
    model="tiny",
    stage="canary",
    champion=A,
    candidate=B,
    previous=PARENT,
    weight=0.5,
    step=1,
    generation=4,
    paused=True,
    outcome="advanced",
    reason="before",
    since=rollouts.BEGUN,
    trigger="event-6",
)
WATCHED = msgspec.structs.replace(
    ON_TRIAL, stage="watch", candidate=None, weight=0.0, step=0, paused=False
)


def moment(state: records.Rollout) -> Moment:
    return Moment(state, rollouts.known(None), Policy(), NOW)


def trial(state: records.Rollout) -> tuple[str | None, float, int, bool]:
    return state.candidate, state.weight, state.step, state.paused


def told(state: records.Rollout) -> Why:
    return Why(state.reason, state.trigger, state.actor)


def test_the_age_is_counted_from_where_the_step_began() -> None:
    assert moment(ON_TRIAL).age == 90.0


@pytest.mark.parametrize("stage", ["shadow", "canary"])
def test_a_candidate_is_on_trial_in_these_stages(stage: records.Stage) -> None:
    assert moment(msgspec.structs.replace(ON_TRIAL, stage=stage)).under_trial


@pytest.mark.parametrize(
    "state", [WATCHED, msgspec.structs.replace(ON_TRIAL, candidate=None)], ids=["watch", "nobody"]
)
def test_without_a_candidate_or_in_another_stage_nothing_is_on_trial(
    state: records.Rollout,
) -> None:
    assert not moment(state).under_trial


def test_a_promotion_makes_the_champion_the_previous_one_and_watches() -> None:
    found = moves.promote(moment(ON_TRIAL), WHY)
    assert (found.champion, found.previous, found.stage) == (B, A, "watch")
    assert (found.outcome, found.since) == ("promoted", NOW)
    assert trial(found) == NOBODY_ON_TRIAL
    assert told(found) == WHY


def test_a_candidate_that_is_dropped_leaves_champion_and_previous_as_they_are() -> None:
    found = moves.drop_candidate(moment(ON_TRIAL), WHY)
    assert (found.champion, found.previous, found.stage) == (A, PARENT, "idle")
    assert (found.outcome, found.since) == ("rolled-back", NOW)
    assert trial(found) == NOBODY_ON_TRIAL
    assert told(found) == WHY


def test_the_previous_champion_that_returns_has_nobody_to_return_to() -> None:
    found = moves.back_to_previous(moment(WATCHED), WHY)
    assert (found.champion, found.previous, found.stage) == (PARENT, None, "idle")
    assert (found.outcome, found.since) == ("rolled-back", NOW)
    assert told(found) == WHY


def test_a_candidate_that_was_compared_with_who_leaves_goes_too_and_that_is_said() -> None:
    found = moves.back_to_previous(moment(ON_TRIAL), WHY)
    assert (found.champion, trial(found)) == (PARENT, NOBODY_ON_TRIAL)
    assert found.reason == (
        f"it is better; {B} goes too, because it was compared with the version that leaves"
    )
    assert (found.trigger, found.actor) == ("event-7", "ada")


def test_a_change_begins_no_step() -> None:
    found = moves.change(ON_TRIAL, WHY, outcome="resumed", paused=False)
    assert (found.since, found.paused, found.outcome) == (rollouts.BEGUN, False, "resumed")
    assert found.candidate == B
    assert told(found) == WHY


def test_no_move_counts_the_routes_that_are_not_written_yet() -> None:
    done = [
        move(moment(ON_TRIAL), WHY).generation
        for move in (moves.promote, moves.drop_candidate, moves.back_to_previous)
    ]
    assert done == [4, 4, 4]


def test_who_gives_no_reason_of_his_own_is_coppice() -> None:
    found = moves.drop_candidate(moment(ON_TRIAL), Why("it fails"))
    assert (found.actor, found.trigger) == ("coppice", None)
