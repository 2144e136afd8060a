from __future__ import annotations

import pytest

from coppice import records, settings
from retrain import trigger

RULES = settings.RetrainSettings(cooldown_seconds=100.0, budget_per_day=2, min_labels=200)
READY = trigger.Situation(champion="m:1", labels=200)


def verdict(
    cause: records.Cause | None = "world", kind: records.VerdictKind = "decay", version: str = "m:1"
) -> records.Verdict:
    return records.Verdict(
        model="m", version=version, scope="champion", kind=kind, cause=cause, reason="said so"
    )


def decide(
    found: records.Verdict,
    situation: trigger.Situation = READY,
    rules: settings.RetrainSettings = RULES,
    now: float = 1000.0,
) -> trigger.Decision:
    return trigger.decide(found, situation, rules, now)


def test_a_changed_world_retrains_the_parent_and_keeps_the_recipe() -> None:
    decision = decide(verdict("world"))
    assert (decision.action, decision.keep_parent, decision.amount_factor) == ("start", False, 1.0)


def test_a_pruning_that_went_too_far_keeps_the_parent_and_cuts_less() -> None:
    decision = decide(verdict("pruning"))
    assert (decision.action, decision.keep_parent, decision.amount_factor) == ("start", True, 0.5)


def test_each_further_attempt_for_the_same_champion_is_milder_still() -> None:
    again = trigger.Situation(champion="m:1", labels=200, attempts=2)
    # 0.5 for this attempt and for each of the two before.
    assert decide(verdict("pruning"), again).amount_factor == 0.125


@pytest.mark.parametrize("cause", ["release", "undecided", None])
def test_other_causes_are_left_to_the_other_planes(cause: records.Cause | None) -> None:
    decision = decide(verdict(cause))
    assert (decision.action, decision.rule) == ("ignore", "cause")


@pytest.mark.parametrize("kind", ["healthy", "drift", "undecided"])
def test_only_decay_asks_for_a_retraining(kind: records.VerdictKind) -> None:
    assert decide(verdict(kind=kind)).rule == "verdict"


def test_a_verdict_about_a_candidate_is_none_of_ours() -> None:
    found = records.Verdict(
        model="m", version="m:2", scope="candidate", kind="rollback", reason="harm"
    )
    assert decide(found).rule == "verdict"


def test_a_verdict_about_a_version_that_no_longer_serves_is_stale() -> None:
    decision = decide(verdict(version="m:0"))
    assert (decision.action, decision.rule) == ("ignore", "stale")
    assert "m:1 serves by now" in decision.reason


def test_a_pruning_that_went_too_far_is_answered_also_after_the_version_was_rolled_back() -> None:
    decision = decide(verdict(cause="pruning", version="m:0"))
    assert (decision.action, decision.keep_parent) == ("start", True)


def test_before_the_first_rollout_event_any_champion_may_decay() -> None:
    assert decide(verdict(), trigger.Situation(labels=200)).action == "start"


def test_switched_off_means_ignored() -> None:
    assert decide(verdict(), rules=settings.RetrainSettings(enabled=False)).rule == "disabled"


def test_a_candidate_under_way_is_waited_for() -> None:
    decision = decide(verdict(), trigger.Situation(rolling_out="m:2", labels=200))
    assert (decision.action, decision.rule) == ("held", "rollout")
    assert "m:2" in decision.reason


def test_the_cooldown_holds_until_its_last_moment() -> None:
    recent = trigger.Situation(starts=(950.0,), labels=200)
    held = decide(verdict(), recent, now=1049.9)
    assert (held.action, held.rule) == ("held", "cooldown")
    # 950 + 100 seconds after 1970-01-01T00:00Z.
    assert held.reason.endswith("1970-01-01T00:17:30.000Z")
    assert decide(verdict(), recent, now=1050.0).action == "start"


def test_the_budget_counts_the_last_24_hours() -> None:
    spent = trigger.Situation(starts=(0.0, 500.0), labels=200)
    held = decide(verdict(), spent, now=1000.0)
    assert (held.action, held.rule) == ("held", "budget")
    # The older of the two leaves the window a day after it began.
    assert held.reason.endswith("1970-01-02T00:00:00.000Z")
    assert decide(verdict(), spent, now=trigger.DAY).action == "start"


def test_too_few_labels_hold_and_say_how_many_are_there() -> None:
    decision = decide(verdict(), trigger.Situation(labels=199))
    assert (decision.action, decision.rule) == ("held", "labels")
    assert decision.reason == "199 labelled production rows are there, 200 are needed"
