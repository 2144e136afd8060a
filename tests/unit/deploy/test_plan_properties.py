"""What holds for every rollout, whatever happens in whatever order."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis
import msgspec
from hypothesis import strategies as st

from coppice import records, routing
from deploy import facts, plan, tables
from deploy.backends.base import RouteState
from deploy.policy import Policy
from tests.support import rollouts
from tests.support.rollouts import BEGUN, MODEL, A, B, C, D

POLICY = Policy(
    steps=(0.1, 0.5), step_seconds=10.0, step_requests=2, shadow_seconds=100.0, watch_seconds=20.0
)
HAPPENINGS: dict[str, list[records.Record]] = {
    "nothing": [],
    "candidate A": [rollouts.candidate(A)],
    "candidate B": [rollouts.candidate(B)],
    "candidate C": [rollouts.candidate(C, "forced")],
    "refused D": [rollouts.candidate(D, "refused")],
    "promote B": [rollouts.verdict("promote", B)],
    "promote C": [rollouts.verdict("promote", C)],
    "undecided B": [rollouts.verdict("undecided", B)],
    "rollback B": [rollouts.verdict("rollback", B)],
    "rollback C": [rollouts.verdict("rollback", C)],
    "decay A": [rollouts.decay(A)],
    "decay B": [rollouts.decay(B)],
    "decay C": [rollouts.decay(C, "world")],
    "traffic": [rollouts.answer(B), rollouts.answer(C)] * 2,
    "failures": [rollouts.mirrored(B, "no")] * 5,
    "order promote": [rollouts.command("promote")],
    "order abort": [rollouts.command("abort")],
    "order pause": [rollouts.command("pause")],
    "order resume": [rollouts.command("resume")],
}
ACCEPTED = {A, B, C}

happenings = st.lists(
    st.tuples(st.sampled_from(sorted(HAPPENINGS)), st.sampled_from([0.0, 5.0, 30.0, 200.0])),
    max_size=40,
)


class World:
    """A controller without stores: fold, plan, and take each step at once."""

    def __init__(self) -> None:
        self.history = facts.History(MODEL)
        self.table: routing.RoutingTable | None = None
        self.now = BEGUN
        self.steps: list[plan.Step] = []

    def happen(self, name: str, seconds: float) -> None:
        self.now += seconds
        self.tell(HAPPENINGS[name])
        while (step := self.next_step()) is not None:
            self.table = step.table
            self.steps.append(step)
            self.tell([step.rollout])

    def tell(self, found: list[records.Record]) -> None:
        for record in found:
            self.history.add(rollouts.event(record, self.now))

    def next_step(self) -> plan.Step | None:
        seen = self.history.facts(route=RouteState(self.table), parents=rollouts.PARENTS)
        return plan.plan(self.history.state, seen, POLICY, self.now)


BEGINNING = [("candidate A", 0.0), ("candidate B", 0.0)]
"""Without it most stories would never get as far as a rollout."""


def lived(story: list[tuple[str, float]]) -> World:
    world = World()
    for name, seconds in BEGINNING + story:
        world.happen(name, seconds)
    return world


def stages(*chosen: str) -> Any:
    """Stories that end in one of the stages."""
    made = happenings.map(lived)
    return made.filter(lambda world: world.history.state and world.history.state.stage in chosen)


@hypothesis.given(happenings)
def test_the_table_always_routes_as_the_state_says(story: list[tuple[str, float]]) -> None:
    for step in lived(story).steps:
        wanted = tables.table_of(step.rollout, rollouts.PARENTS, POLICY)
        assert tables.same(step.table, wanted)


@hypothesis.given(happenings)
def test_only_the_canary_lane_has_weight(story: list[tuple[str, float]]) -> None:
    for step in lived(story).steps:
        assert (step.table.weight > 0) == (step.rollout.stage == "canary")
        assert (step.table.candidate is not None) == (step.rollout.stage in {"shadow", "canary"})


@hypothesis.given(happenings)
def test_weights_grow_until_the_rollout_is_decided(story: list[tuple[str, float]]) -> None:
    steps = lived(story).steps
    for before, after in itertools.pairwise(steps):
        decided = after.rollout.outcome in {"rolled-back", "promoted"}
        assert decided or after.table.weight >= before.table.weight


@hypothesis.given(happenings)
def test_the_champion_is_always_an_accepted_version(story: list[tuple[str, float]]) -> None:
    for step in lived(story).steps:
        assert step.rollout.champion in ACCEPTED
        assert step.rollout.champion not in {step.rollout.candidate, step.rollout.previous}


@hypothesis.given(happenings)
def test_generations_never_go_back_and_mean_one_table_each(
    story: list[tuple[str, float]],
) -> None:
    steps = lived(story).steps
    for before, after in itertools.pairwise(steps):
        same = before.table == after.table
        newer = after.table.generation == before.table.generation + 1
        assert same or newer


@hypothesis.given(happenings)
def test_a_paused_rollout_moves_only_by_safety_or_command(story: list[tuple[str, float]]) -> None:
    steps = lived(story).steps
    for before, after in itertools.pairwise(steps):
        by_hand = after.rollout.actor == "ada"
        held = after.rollout.outcome in {"refused", "rolled-back"}
        assert not before.rollout.paused or by_hand or held


@hypothesis.given(happenings)
def test_a_restart_knows_what_the_running_controller_knew(story: list[tuple[str, float]]) -> None:
    world, again = World(), facts.History(MODEL)
    told: list[records.Event] = []
    tell = world.history.add
    world.history.add = lambda event: (told.append(event), tell(event))[1]  # type: ignore[func-returns-value,method-assign]
    for name, seconds in story:
        world.happen(name, seconds)
    for event in told:
        again.add(event)
    seen = [made.facts(route=RouteState(None), parents={}) for made in (world.history, again)]
    assert seen[0] == seen[1]


@hypothesis.given(stages("shadow", "canary"))
@hypothesis.settings(suppress_health_check=list(hypothesis.HealthCheck), max_examples=50)
def test_a_rollback_verdict_is_obeyed_in_every_stage_of_a_rollout(world: World) -> None:
    state = world.history.state
    assert state is not None
    world.tell([rollouts.verdict("rollback", str(state.candidate))])
    step = world.next_step()
    assert step is not None
    assert (step.rollout.outcome, step.rollout.champion) == ("rolled-back", state.champion)


@hypothesis.given(stages("shadow", "canary", "watch"))
@hypothesis.settings(suppress_health_check=list(hypothesis.HealthCheck), max_examples=50)
def test_an_abort_is_obeyed_in_every_stage_of_a_rollout(world: World) -> None:
    state = world.history.state
    assert state is not None
    expected = state.previous if state.stage == "watch" else state.champion
    world.tell([rollouts.command("abort")])
    step = world.next_step()
    assert step is not None
    assert (step.rollout.outcome, step.rollout.champion) == ("rolled-back", expected)


@hypothesis.given(stages("idle", "shadow", "canary", "watch"))
@hypothesis.settings(suppress_health_check=list(hypothesis.HealthCheck), max_examples=50)
def test_any_state_survives_the_loss_of_the_routing_table(world: World) -> None:
    state = world.history.state
    assert state is not None
    world.table = None
    step = world.next_step()
    assert step is not None
    assert step.table.generation == state.generation + 1
    expected = tables.table_of(step.rollout, rollouts.PARENTS, POLICY)
    assert step.table == msgspec.structs.replace(expected, generation=state.generation + 1)
