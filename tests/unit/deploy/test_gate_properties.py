"""What holds of every answer, whatever the log and the world say."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from coppice import records
from deploy import facts, gate
from tests.support import rollouts
from tests.support.rollouts import MODEL, A, B, C, canary, shadow, state, table, watch

EVENTS: list[records.Record] = [
    state(),
    shadow(),
    canary(),
    canary(paused=True),
    canary(actor="ada"),
    watch(),
    state(outcome="rolled-back", reason="worse"),
    rollouts.verdict("undecided"),
    rollouts.verdict("promote"),
    rollouts.verdict("rollback"),
    rollouts.verdict("rollback", slice="pen=ink"),
    rollouts.verdict("promote", against=C),
]
TRIED = table(2, candidate=B)
ROUTES = [TRIED, TRIED, TRIED, None, table(1), table(3, champion=B), table(4, candidate=C)]
"""Mostly those of a trial, where most can go wrong."""


@st.composite
def views(draw: st.DrawFn) -> gate.View:
    history = facts.History(MODEL)
    begun: list[records.Record] = draw(st.sampled_from([[], [state(), shadow()]]))
    for record in begun + draw(st.lists(st.sampled_from(EVENTS), max_size=8)):
        history.add(rollouts.event(record))
    routed = draw(st.sampled_from(ROUTES))
    return gate.View.of(history, routed, auto=draw(st.booleans()))


VERSIONS = st.sampled_from([None, None, A, B, C])
many = hypothesis.settings(max_examples=500)


@many
@hypothesis.given(views(), VERSIONS)
def test_a_candidate_is_cleared_by_evidence_or_by_hand_and_by_nothing_else(
    seen: gate.View, version: str | None
) -> None:
    told = gate.answer(seen, version)
    cleared = told.verdict == "promote" and told.version == seen.candidate is not None
    by_evidence = seen.auto and seen.judged["verdict"] == "promote"
    held = seen.state is not None and seen.state.paused
    allowed = (by_evidence or seen.promoted_by == "ada") and not held
    assert not cleared or (allowed and seen.judged["verdict"] != "rollback")


@many
@hypothesis.given(views(), VERSIONS)
def test_what_is_cleared_is_what_the_world_routes_to(seen: gate.View, version: str | None) -> None:
    told = gate.answer(seen, version)
    assert told.verdict != "promote" or seen.state is None or seen.routes(told.version)


@many
@hypothesis.given(views(), VERSIONS)
def test_only_what_is_bad_is_rolled_back_and_only_what_is_good_promoted(
    seen: gate.View, version: str | None
) -> None:
    told = gate.answer(seen, version)
    assert (gate.status("rollback", seen, told) == 200) == (told.verdict == "rollback")
    assert (gate.status("confirm-promotion", seen, told) == 200) == (told.verdict == "promote")


@many
@hypothesis.given(views(), VERSIONS)
def test_what_is_bad_passes_no_hook_but_its_own(seen: gate.View, version: str | None) -> None:
    told = gate.answer(seen, version)
    asked: list[gate.Hook] = [
        "confirm-rollout",
        "rollout",
        "confirm-traffic-increase",
        "confirm-promotion",
    ]
    passed = [hook for hook in asked if gate.status(hook, seen, told) == 200]
    assert told.verdict != "rollback" or passed == []
