"""The retrainer on a real tiny network: verdicts and labels in the log, candidates out."""

from __future__ import annotations

import dataclasses
import fcntl
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from coppice import errors, project, records, settings
from coppice.testing import ManualClock, MemoryLog, MemoryRegistry
from retrain import candidate, card, loop
from retrain.pruning import recipe
from tests.support import digits

pytestmark = pytest.mark.slow

RECIPE = recipe.Recipe(amount=0.5, align=4, finetune_epochs=2, learning_rate=5e-3)
LABELLED = 120


def tree_of(folder: Path) -> settings.Settings:
    return settings.Settings(
        root=folder,
        project=settings.ProjectSettings(name="digits", module=digits.MODULE),
        train=settings.TrainSettings(epochs=4, learning_rate=5e-3),
        # What is made is judged elsewhere; here every candidate may pass.
        gates=settings.GateSettings(max_score_drop=1.0, max_slice_drop=1.0),
        inspect=settings.InspectSettings(sections=()),
        retrain=settings.RetrainSettings(cooldown_seconds=600.0, min_labels=100),
    )


class House(NamedTuple):
    tree: settings.Settings
    registry: MemoryRegistry
    log: MemoryLog
    clock: ManualClock

    def retrainer(self, **fields: object) -> loop.Retrainer:
        return loop.Retrainer(self.log, self.registry, self.tree, self.clock, **fields)  # type: ignore[arg-type]

    def write(self, *found: records.Record) -> None:
        self.log.append([records.seal(r, source="test", now=self.clock.now()) for r in found])

    def all(self, kind: type[records.Record]) -> list[records.Record]:
        unsealed = [records.unseal(event) for event in self.log.read("", 100_000).events]
        return [record for record in unsealed if isinstance(record, kind)]

    def steps(self) -> list[tuple[str, str]]:
        return [(step.status, step.cause) for step in self.all(records.Retraining)]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[MemoryRegistry, records.Candidate]:
    """A registry with one dense parent and one champion, made once for all tests."""
    folder = tmp_path_factory.mktemp("first")
    registry = MemoryRegistry(folder / "registry")
    request = candidate.CandidateRequest(recipe=RECIPE, force=True)
    own = project.load(tree_of(folder))
    return registry, candidate.make(own, registry, MemoryLog(), request, timer=ManualClock())


@pytest.fixture
def house(first: tuple[MemoryRegistry, records.Candidate], tmp_path: Path) -> House:
    """A log in which the champion serves and 120 scans were answered and labelled."""
    source, champion = first
    registry = MemoryRegistry(tmp_path / "registry")
    registry.add(source.path(champion.parent))
    registry.add(source.path(champion.version))
    registry.point("digits", {"champion": champion.version, "parent": champion.parent})
    built = House(tree_of(tmp_path), registry, MemoryLog(), ManualClock())
    built.write(rollout(champion.version), *traffic(champion.version))
    return built


def rollout(champion: str, **fields: object) -> records.Rollout:
    whole = {"stage": "idle", "outcome": "settled"} | fields
    return records.Rollout(model="digits", champion=champion, reason="test", **whole)  # type: ignore[arg-type]


def traffic(version: str) -> list[records.Record]:
    scans = digits.splits()["traffic"].take(np.arange(LABELLED))
    pixels = scans.inputs["pixels"] * np.float32(0.5)
    predictions = [
        records.Prediction(
            request_id=f"r{row}",
            model="digits",
            version=version,
            lane="stable",
            propensity=1.0,
            key_hash="",
            inputs={"pixels": records.Tensor.of(pixels[row : row + 1])},
            latency_seconds=0.001,
        )
        for row in range(LABELLED)
    ]
    labelled = [
        records.Feedback(
            request_id=f"r{row}",
            model="digits",
            labels=(int(scans.targets[row]),),
            labelled_at=0.0,
        )
        for row in range(LABELLED)
    ]
    return [*predictions, *labelled]


def decay(version: str, cause: records.Cause = "world") -> records.Verdict:
    return records.Verdict(
        model="digits",
        version=version,
        scope="champion",
        kind="decay",
        cause=cause,
        reason="accuracy fell",
    )


def champion_of(house: House) -> str:
    return house.registry.aliases("digits")["champion"]


def test_a_changed_world_is_answered_with_a_retrained_parent_and_its_candidate(
    house: House,
) -> None:
    old = card.read(house.registry.path(champion_of(house)))
    house.write(decay(champion_of(house)))
    house.retrainer().turn()
    assert house.steps() == [("started", "world"), ("finished", "world")]
    (made,) = house.all(records.Candidate)
    assert isinstance(made, records.Candidate)
    assert (made.status, made.reason) == ("accepted", "world")
    assert made.parent != old.lineage.parent
    found = card.read(house.registry.path(made.version))
    assert found.recipe == RECIPE
    # What is not held back of 120 labelled rows is repeated beside the 500 of the project.
    assert found.lineage.rows["held_back"] > 15
    assert found.lineage.rows["train"] > 500 + 4 * 70


def test_a_pruning_that_went_too_far_is_answered_with_a_milder_cut_of_the_same_parent(
    house: House,
) -> None:
    old = card.read(house.registry.path(champion_of(house)))
    house.write(decay(champion_of(house), "pruning"))
    house.retrainer().turn()
    (made,) = house.all(records.Candidate)
    assert isinstance(made, records.Candidate)
    assert (made.status, made.reason, made.parent) == ("accepted", "pruning", old.lineage.parent)
    found = card.read(house.registry.path(made.version)).recipe
    assert found == dataclasses.replace(RECIPE, amount=0.25)


def test_a_network_that_cannot_be_cut_so_little_is_left_whole(house: House) -> None:
    # Steps of 16: a quarter of 16 or 32 channels rounds to none.
    wide = dataclasses.replace(RECIPE, align=16, amount=0.9)
    request = candidate.CandidateRequest(recipe=wide, force=True)
    own = project.load(house.tree)
    made = candidate.make(own, house.registry, MemoryLog(), request, timer=house.clock)
    house.write(rollout(made.version), decay(made.version, "pruning"))
    tree = house.tree.model_copy(
        update={"retrain": settings.RetrainSettings(min_labels=100, milder=0.1)}
    )
    house._replace(tree=tree).retrainer().turn()
    (answer,) = house.all(records.Candidate)
    assert isinstance(answer, records.Candidate)
    found = card.read(house.registry.path(answer.version))
    assert found.recipe is not None
    assert found.recipe.amount == 0.0
    assert answer.figures["macs_ratio"] == 1.0


def test_the_cooldown_holds_says_so_once_and_starts_by_itself_when_it_ends(house: House) -> None:
    retrainer = house.retrainer()
    house.write(decay(champion_of(house), "pruning"))
    retrainer.turn()
    house.write(rollout(champion_of(house)), decay(champion_of(house), "pruning"))
    retrainer.turn()
    retrainer.turn()
    # The monitor repeats itself; the retrainer does not.
    house.write(decay(champion_of(house), "pruning"))
    retrainer.turn()
    assert house.steps()[2:] == [("held", "pruning")]
    house.clock.advance(600.0)
    retrainer.turn()
    assert house.steps()[3:] == [("started", "pruning"), ("finished", "pruning")]
    # The second answer to the same champion is milder still.
    (_, second) = house.all(records.Candidate)
    assert isinstance(second, records.Candidate)
    found = card.read(house.registry.path(second.version)).recipe
    assert found == dataclasses.replace(RECIPE, amount=0.125)


def test_too_few_labels_hold_until_enough_arrive(house: House) -> None:
    few = house._replace(log=MemoryLog())
    few.write(rollout(champion_of(house)), decay(champion_of(house), "pruning"))
    retrainer = few.retrainer()
    retrainer.turn()
    assert few.steps() == [("held", "pruning")]
    few.write(*traffic(champion_of(house)))
    retrainer.turn()
    assert few.steps()[1:] == [("started", "pruning"), ("finished", "pruning")]


def test_labels_whose_inputs_were_not_stored_do_not_count(house: House) -> None:
    bare = house._replace(log=MemoryLog())
    labelled = [r for r in traffic(champion_of(house)) if isinstance(r, records.Feedback)]
    bare.write(rollout(champion_of(house)), *labelled, decay(champion_of(house)))
    bare.retrainer().turn()
    (held,) = bare.all(records.Retraining)
    assert isinstance(held, records.Retraining)
    assert held.reason == "0 labelled production rows are there, 100 are needed"


def test_a_candidate_under_way_is_waited_for(house: House) -> None:
    retrainer = house.retrainer()
    house.write(decay(champion_of(house), "pruning"))
    retrainer.turn()
    house.clock.advance(600.0)
    house.write(decay(champion_of(house), "pruning"))
    retrainer.turn()
    (_, _, held) = house.all(records.Retraining)
    assert isinstance(held, records.Retraining)
    assert held.status == "held"
    assert held.reason.endswith("is on its way to production already")


def test_a_refused_candidate_ends_the_retraining_as_failed_and_names_the_gate(
    house: House,
) -> None:
    strict = house.tree.model_copy(update={"gates": settings.GateSettings(min_score=1.0)})
    house.write(decay(champion_of(house), "pruning"))
    house._replace(tree=strict).retrainer().turn()
    assert house.steps() == [("started", "pruning"), ("failed", "pruning")]
    failed = house.all(records.Retraining)[-1]
    assert isinstance(failed, records.Retraining)
    assert "gate 'min score'" in failed.reason


def test_asked_to_stop_it_stops_within_an_epoch_and_begins_anew_later(house: House) -> None:
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        # Past the first phases, in the midst of training.
        return len(asked) > 6

    house.write(decay(champion_of(house)))
    house.retrainer(stop=stop).turn()
    assert house.steps() == [("started", "world"), ("held", "world")]
    assert house.all(records.Candidate) == []
    house.clock.advance(600.0)
    house.retrainer().turn()
    assert house.steps()[2:] == [("started", "world"), ("finished", "world")]


def test_a_retraining_that_was_killed_is_marked_as_failed_on_restart(house: House) -> None:
    verdict = records.seal(decay(champion_of(house)), source="test", now=house.clock.now())
    house.log.append([verdict])
    house.write(
        records.Retraining(
            model="digits", status="started", cause="world", reason="", trigger=verdict.id
        )
    )
    retrainer = house.retrainer()
    retrainer.turn()
    retrainer.turn()
    assert house.steps() == [("started", "world"), ("failed", "world")]


@pytest.mark.parametrize("cause", ["release", "undecided"])
def test_what_is_not_ours_to_answer_is_left_alone(house: House, cause: records.Cause) -> None:
    house.write(decay(champion_of(house), cause))
    retrainer = house.retrainer()
    retrainer.turn()
    assert house.steps() == []
    assert retrainer.state.pending is None


def test_a_project_that_cannot_be_used_holds_and_says_why(house: House) -> None:
    broken = house.tree.model_copy(
        update={"project": settings.ProjectSettings(name="digits", module="no_such_module")}
    )
    house.write(decay(champion_of(house)))
    retrainer = house._replace(tree=broken).retrainer()
    retrainer.turn()
    retrainer.turn()
    (held,) = house.all(records.Retraining)
    assert isinstance(held, records.Retraining)
    assert held.status == "held"
    assert "cannot import 'no_such_module'" in held.reason


def test_events_of_other_models_and_broken_ones_are_passed_over(house: House) -> None:
    other = elsewhere(champion_of(house))
    good = records.seal(decay(champion_of(house)), source="test", now=0.0)
    house.log.append([records.Event("broken", good.type, "test", 0.0, "x", "digits", b"\xc1")])
    house.write(other)
    retrainer = house.retrainer()
    retrainer.turn()
    assert retrainer.state.pending is None
    assert house.log.latest("digits", records.Retraining) is None


def elsewhere(version: str) -> records.Verdict:
    return records.Verdict(
        model="other",
        version=version,
        scope="champion",
        kind="decay",
        cause="world",
        reason="",
    )


def test_two_retrainers_do_not_work_on_one_project_at_once(house: House) -> None:
    house.tree.home.mkdir(parents=True, exist_ok=True)
    with (house.tree.home / loop.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(errors.EnvironmentProblem, match="another retrainer"):
            house.retrainer().turn()


def test_a_turn_that_raises_is_counted_and_the_next_one_is_taken(house: House) -> None:
    turns: list[int] = []

    def stop() -> bool:
        turns.append(1)
        return len(turns) > 4

    house.tree.home.mkdir(parents=True, exist_ok=True)
    retrainer = house.retrainer(stop=stop)
    with (house.tree.home / loop.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        retrainer.run()
    counted = retrainer.recorder.registry.get_sample_value(
        "coppice_retrain_turn_errors_total", {"model": "digits", "error": "EnvironmentProblem"}
    )
    assert counted == 2


def test_a_dense_champion_is_its_own_parent_and_is_pruned_as_the_settings_say(
    house: House,
) -> None:
    dense = house.registry.aliases("digits")["parent"]
    section = settings.PruneSettings(amount=0.4, align=4, finetune_epochs=0)
    tree = house.tree.model_copy(update={"prune": section})
    house.write(rollout(dense), decay(dense, "pruning"))
    house._replace(tree=tree).retrainer().turn()
    (made,) = house.all(records.Candidate)
    assert isinstance(made, records.Candidate)
    assert made.parent == dense
    found = card.read(house.registry.path(made.version)).recipe
    assert found is not None
    # Half of the 0.4 that the settings remove, for this is the first attempt.
    assert found.amount == pytest.approx(0.2)


def test_a_champion_that_the_registry_does_not_know_ends_as_failed(house: House) -> None:
    house.write(rollout("digits:000000000000"), decay("digits:000000000000"))
    house.retrainer().turn()
    assert house.steps() == [("started", "world"), ("failed", "world")]


def test_a_verdict_that_arrived_before_the_champion_changed_is_dropped(house: House) -> None:
    house.write(decay(champion_of(house)), rollout("digits:newer", stage="watch"))
    retrainer = house.retrainer()
    retrainer.turn()
    assert house.steps() == []
    assert retrainer.state.pending is None


def test_a_second_process_reads_the_same_log_and_finds_nothing_left_to_do(house: House) -> None:
    house.write(decay(champion_of(house), "pruning"))
    house.retrainer().turn()
    done = house.steps()
    restarted = house.retrainer()
    restarted.turn()
    assert house.steps() == done
    assert restarted.state.pending is None


def test_what_the_loop_does_shows_in_its_metrics(house: House) -> None:
    house.write(decay(champion_of(house), "pruning"))
    retrainer = house.retrainer()
    retrainer.turn()
    value = retrainer.recorder.registry.get_sample_value
    steps = {"model": "digits", "status": "finished", "cause": "pruning"}
    assert value("coppice_retrain_steps_total", steps) == 1
    assert value("coppice_retrain_labelled_rows", {"model": "digits"}) == LABELLED
    assert value("coppice_retrain_phase_ratio", {"model": "digits", "phase": "pack"}) == 1.0
