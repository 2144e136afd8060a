"""Where Git names the versions, the rollout records what is there and writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from coppice import records
from deploy import facts, plan
from deploy.backends.base import Tool
from deploy.policy import Policy
from tests.support import rollouts
from tests.support.rollouts import A, B, C, canary, known, noted, shadow, state, watch

POLICY = Policy(steps=(), watch_seconds=600.0, outside=True, judges=True)
ALONE = rollouts.table(7)
PAIR = rollouts.table(8, candidate=B, weight=1.0)
GOES_ON = Tool("progressing", 0.1)
GAVE_UP = Tool("aborted", 0.0, "analysis failed")
DONE = Tool("promoted", 1.0)


def step(before: records.Rollout | None, now: float = 1000.0, **seen: Any) -> plan.Step | None:
    return plan.plan(before, known(before, **{"tool": GOES_ON, **seen}), POLICY, now)


def moved(before: records.Rollout | None, **seen: Any) -> tuple[str, str, str, str | None]:
    """Return outcome, stage, champion and candidate of the step."""
    found = step(before, **seen)
    assert found is not None
    after = found.rollout
    return after.outcome, after.stage, after.champion, after.candidate


def test_the_first_version_is_recorded_as_it_is() -> None:
    assert moved(None, table=ALONE) == ("promoted", "idle", A, None)


@pytest.mark.parametrize("table", [None, rollouts.table(1, champion="tiny:000000000000")])
def test_what_git_does_not_name_or_the_registry_lacks_is_waited_for(table: Any) -> None:
    assert step(None, table=table) is None


def test_a_new_version_is_on_trial_with_the_champion() -> None:
    assert moved(state(), table=PAIR) == ("started", "shadow", A, B)


def test_a_plain_version_is_on_trial_as_well() -> None:
    assert moved(state(), table=rollouts.table(8, champion=B)) == ("started", "shadow", A, B)


def test_the_step_leaves_gits_table_alone() -> None:
    found = step(state(), table=PAIR)
    assert found is not None
    assert (found.table, found.rollout.generation, found.steer) == (PAIR, 8, None)


def test_a_candidate_of_the_registry_does_not_begin_by_itself() -> None:
    assert step(state(), table=ALONE, waiting=noted(rollouts.candidate())) is None


def test_a_rollback_verdict_waits_for_the_tool_to_ask() -> None:
    bad = noted(rollouts.verdict("rollback"))
    assert step(canary(), table=PAIR, verdict=bad) is None
    gone = moved(canary(), table=PAIR, verdict=bad, tool=GAVE_UP)
    assert gone == ("rolled-back", "idle", A, None)


def test_what_the_tool_gave_up_is_not_started_again() -> None:
    assert step(state(outcome="rolled-back"), table=PAIR, tool=GAVE_UP) is None


def test_the_tool_promotes_and_widens() -> None:
    assert moved(canary(), table=PAIR, tool=DONE) == ("promoted", "watch", B, None)
    assert moved(shadow(), table=PAIR) == ("advanced", "canary", A, B)


def test_a_candidate_that_git_takes_back_is_dropped() -> None:
    assert moved(canary(), table=ALONE) == ("rolled-back", "idle", A, None)
    assert moved(canary(), table=rollouts.table(9, champion=C)) == ("rolled-back", "idle", A, None)


def test_the_previous_champion_returns_without_a_trial() -> None:
    assert moved(watch(), table=ALONE) == ("rolled-back", "idle", A, None)


def test_a_decay_is_for_git_to_answer() -> None:
    decayed = noted(rollouts.decay(B))
    assert step(watch(), table=rollouts.table(8, champion=B), health=decayed) is None


def test_a_watch_ends_by_time() -> None:
    settled = step(watch(), table=rollouts.table(8, champion=B), now=1600.0)
    assert settled is not None
    assert (settled.rollout.outcome, settled.rollout.stage) == ("settled", "idle")


@pytest.mark.parametrize("action", ["promote", "abort", "pause", "resume"])
def test_commands_are_refused_with_where_to_go(action: Any) -> None:
    found = step(canary(), table=PAIR, command=noted(rollouts.command(action), "command-1"))
    assert found is not None
    assert (found.rollout.outcome, found.rollout.trigger) == ("refused", "command-1")
    assert "change the version in Git" in found.rollout.reason
    assert found.rollout.candidate == B


def test_a_table_of_gits_is_nobodys_edit() -> None:
    seen = facts.Facts(table=PAIR, parents=rollouts.PARENTS)
    assert not plan.edited(state(), seen, POLICY, None)
