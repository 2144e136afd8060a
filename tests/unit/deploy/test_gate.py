"""What rollout tools are told, for every state of the log and of the world."""

from __future__ import annotations

import datetime as dt
from typing import Any, get_args

import pytest

from coppice import records, verdicts
from deploy import facts, gate
from tests.support import rollouts
from tests.support.rollouts import BEGUN, MODEL, A, B, C, canary, shadow, state, table, watch

PROMOTE = rollouts.verdict("promote", evidence={"promote": 3.5}, counts={"pairs": 9})
ROLLBACK = rollouts.verdict("rollback")
SLICE = rollouts.verdict("rollback", slice="pen=ink", reason="worse where pen=ink")
ONLY_A, A_AND_B, ONLY_B = table(1), table(2, candidate=B), table(3, champion=B)


def view(*found: records.Record, routed: Any = A_AND_B, auto: bool = True) -> gate.View:
    """What is known after these events."""
    history = facts.History(MODEL)
    for record in found:
        history.add(rollouts.event(record))
    return gate.View.of(history, routed, auto=auto)


def promoted_by_hand(**changes: Any) -> records.Rollout:
    return canary(actor="ada", trigger="command-1", **changes)


BACK = state(outcome="rolled-back", reason="it fails where pen=ink")
SWAPPED = state(outcome="rolled-back", reason="decay because of release")

DECISIONS = [
    ("before anything", view(routed=None), None, "promote", "there is no champion yet"),
    ("a log that knows less", view(routed=ONLY_A), None, "undecided", f"agree (yet) that {A}"),
    ("only a champion", view(state(), routed=ONLY_A), None, "promote", f"{A} is the champion"),
    ("no routes yet", view(state(), routed=None), None, "promote", "nothing is on trial"),
    ("routes are ahead", view(state()), None, "undecided", f"agree (yet) that {B}"),
    ("not judged yet", view(shadow()), None, "undecided", f"not judged {B} yet"),
    ("judged", view(canary(), PROMOTE), None, "promote", "evidence says promote"),
    ("bad", view(canary(), ROLLBACK), None, "rollback", "evidence says rollback"),
    ("a bad slice", view(canary(), PROMOTE, SLICE), None, "rollback", "worse where pen=ink"),
    ("paused", view(canary(paused=True), PROMOTE), None, "undecided", "an operator holds"),
    ("bad while paused", view(canary(paused=True), ROLLBACK), None, "rollback", "rollback"),
    ("by hand", view(shadow(), promoted_by_hand()), None, "promote", "ada promoted it"),
    (
        "by hand, and the tool goes on",
        view(shadow(), promoted_by_hand(), canary(0.5)),
        None,
        "promote",
        "ada promoted it",
    ),
    (
        "by hand, then paused",
        view(shadow(), promoted_by_hand(), canary(paused=True)),
        None,
        "undecided",
        "an operator holds",
    ),
    ("by hand, but bad", view(promoted_by_hand(), ROLLBACK), None, "rollback", "rollback"),
    ("no automation", view(canary(), PROMOTE, auto=False), None, "undecided", "rollout.auto"),
    ("no automation, bad", view(canary(), ROLLBACK, auto=False), None, "rollback", "rollback"),
    ("promoted", view(watch(), routed=ONLY_B), None, "promote", f"{B} is the champion"),
    ("dropped, and gone", view(shadow(), BACK, routed=ONLY_A), None, "promote", "nothing is on"),
    ("dropped, still asked for", view(shadow(), BACK), None, "rollback", "it fails where pen"),
    ("dropped, then tried again", view(shadow(), BACK, shadow()), None, "undecided", "not judged"),
    ("swapped back", view(watch(), SWAPPED, routed=ONLY_A), None, "promote", "is the champion"),
    ("swapped, still asked for", view(watch(), SWAPPED, routed=ONLY_B), None, "rollback", "decay"),
    ("asked by name", view(canary(), PROMOTE), B, "promote", "evidence"),
    ("asked by id", view(canary(), PROMOTE), B.partition(":")[2], "promote", "evidence"),
    ("asked for the champion", view(canary(), ROLLBACK), A, "promote", f"{A} is the champion"),
    ("routes went on without it", view(canary(), PROMOTE, routed=table(9, champion=A, candidate=C)),
     B, "undecided", "do not agree"),
    ("another serves by now", view(canary(), routed=table(9, champion=C, candidate=B)), A,
     "undecided", "do not agree"),
    ("asked for another", view(canary(), PROMOTE), C, "undecided", f"agree (yet) that {C}"),
    ("of another champion", view(canary(), rollouts.verdict("promote", against=C)), None,
     "undecided", "not judged"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "version", "decision", "reason"),
    [row[1:] for row in DECISIONS],
    ids=[row[0] for row in DECISIONS],
)
def test_what_is_told(seen: gate.View, version: str | None, decision: str, reason: str) -> None:
    told = gate.answer(seen, version)
    assert told.verdict == decision
    assert reason in told.reason


def test_an_old_log_lets_no_first_step_pass_for_a_version_that_is_asked_for_by_name() -> None:
    seen = view(shadow(), routed=table(9, candidate=C))
    assert gate.status("confirm-traffic-increase", seen, gate.answer(seen, B)) == 409


def test_the_evidence_comes_with_the_verdict() -> None:
    told = gate.answer(view(canary(), PROMOTE))
    assert (told.evidence, told.counts, told.version) == ({"promote": 3.5}, {"pairs": 9}, B)


def test_evidence_about_the_candidate_is_not_told_of_the_champion() -> None:
    told = gate.answer(view(canary(), PROMOTE), A)
    assert (told.evidence, told.version) == ({}, A)


def test_a_replica_that_lags_can_be_told_by_its_generation_and_its_newest_event() -> None:
    told = gate.answer(view(canary(generation=4), routed=table(6, candidate=B)))
    assert (told.generation, told.routed_generation, told.newest_event) == (4, 6, BEGUN)


def test_the_answer_has_every_field_of_the_servers_own() -> None:
    assert set(verdicts.undecided("")) <= set(gate.Answer.__struct_fields__)


HOOKS = {
    # confirm-rollout, rollout, confirm-traffic-increase, confirm-promotion, rollback, event
    "promote": (view(canary(), PROMOTE), [200, 200, 200, 200, 409, 200]),
    "undecided with traffic": (view(canary()), [200, 200, 409, 409, 409, 200]),
    "undecided without traffic": (view(shadow()), [200, 200, 200, 409, 409, 200]),
    "rollback": (view(canary(), ROLLBACK), [409, 409, 409, 409, 200, 200]),
    "rollback without traffic": (view(shadow(), ROLLBACK), [409, 409, 409, 409, 200, 200]),
    "paused without traffic": (view(shadow(paused=True)), [409, 200, 409, 409, 409, 200]),
    "paused, judged good": (view(canary(paused=True), PROMOTE), [409, 200, 409, 409, 409, 200]),
    "nothing on trial": (view(state(), routed=ONLY_A), [200, 200, 200, 200, 409, 200]),
    "a log that lags": (view(state()), [200, 200, 409, 409, 409, 200]),
    "an old log": (view(shadow(), routed=table(9, candidate=C)), [200, 200, 409, 409, 409, 200]),
    "dropped, still asked for": (view(shadow(), BACK), [409, 409, 409, 409, 200, 200]),
}
TABLE = [
    (case, hook, expected)
    for case, (_, statuses) in HOOKS.items()
    for hook, expected in zip(get_args(gate.Hook), statuses, strict=True)
]


@pytest.mark.parametrize(("case", "hook", "expected"), TABLE)
def test_a_hook_of_flagger_is_answered_by_its_status(case: str, hook: Any, expected: int) -> None:
    seen = HOOKS[case][0]
    assert gate.status(hook, seen, gate.answer(seen)) == expected


@pytest.mark.parametrize(
    ("hook", "expected"),
    list(zip(get_args(gate.Hook), [200, 200, 409, 409, 409, 200], strict=True)),
)
def test_who_knows_nothing_holds_everything_up_and_rolls_nothing_back(
    hook: Any, expected: int
) -> None:
    assert gate.status(hook, None, gate.unknown(MODEL, "still reading")) == expected


def alert(**changes: Any) -> gate.Alert:
    labels = {"alertname": "HighErrors", "model": MODEL, **changes.pop("labels", {})}
    whole = {"status": "firing", "starts_at": dt.datetime.fromtimestamp(BEGUN, dt.UTC)}
    return gate.Alert(labels=labels, **{**whole, **changes})


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (view(canary()), alert()),
        (view(canary()), alert(labels={"version": B})),
        (view(canary()), alert(labels={"version": B.partition(":")[2]})),
        (view(canary()), alert(starts_at=None)),
        (view(watch()), alert(labels={"version": B})),
    ],
    ids=["the model", "the version", "its id", "no time", "just promoted"],
)
def test_an_alert_about_the_version_on_trial_counts(seen: gate.View, told: gate.Alert) -> None:
    assert gate.alarm(seen, [alert(status="resolved"), told]) == told


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (view(canary()), alert(status="resolved")),
        (view(canary()), alert(labels={"model": "other"})),
        (view(canary()), alert(labels={"version": A})),
        (view(watch()), alert(labels={"version": A})),
        # It began a second before the rollout did.
        (view(canary()), alert(starts_at=dt.datetime.fromtimestamp(BEGUN - 1.0, dt.UTC))),
        (view(state(), routed=ONLY_A), alert()),
        (view(routed=None), alert()),
    ],
    ids=["over", "another model", "the champion", "the previous", "old", "idle", "no champion"],
)
def test_every_other_alert_is_somebody_elses(seen: gate.View, told: gate.Alert) -> None:
    assert gate.alarm(seen, [told]) is None


def test_an_alert_asks_in_its_own_name_and_says_why() -> None:
    told = alert(annotations={"summary": "one in ten fails"})
    assert gate.command(view(canary()), told, "abort") == records.Command(
        model=MODEL,
        action="abort",
        actor="alertmanager",
        reason="alert HighErrors: one in ten fails",
    )


def test_an_alert_that_comes_again_asks_for_nothing_new() -> None:
    assert gate.command(view(canary(paused=True)), alert(), "pause") is None
    assert gate.command(view(shadow(), BACK), alert(), "abort") is None


def test_a_view_is_that_of_the_events_and_the_world_alone() -> None:
    found: list[records.Record] = [shadow(), PROMOTE, canary(0.5)]
    assert view(*found) == view(*found)
