"""The learning plane's flow on a real tiny network: each step trains, so they share one parent."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from coppice import artifact, errors, project, records, runtime, settings
from coppice.testing import ManualClock, MemoryLog, MemoryRegistry
from retrain import candidate, card, dataset, gates, parents, weights
from retrain.evaluate import inspection
from retrain.pruning import recipe
from tests.support import digits

pytestmark = pytest.mark.slow

QUICK = recipe.Recipe(amount=0.5, align=4, finetune_epochs=0)
SHORT = dataclasses.replace(QUICK, finetune_epochs=2)
RECIPE = recipe.Recipe(amount=0.5, align=4, finetune_epochs=10, learning_rate=5e-3)


def tree_of(folder: Path) -> settings.Settings:
    return settings.Settings(
        root=folder,
        project=settings.ProjectSettings(name="digits", module=digits.MODULE),
        train=settings.TrainSettings(epochs=10, learning_rate=5e-3),
        gates=settings.GateSettings(max_score_drop=0.05, max_slice_drop=0.2),
        inspect=settings.InspectSettings(sections=()),
    )


class House(NamedTuple):
    own: project.Project
    registry: MemoryRegistry
    log: MemoryLog
    clock: ManualClock

    def make(self, request: candidate.CandidateRequest) -> records.Candidate:
        return candidate.make(self.own, self.registry, self.log, request, timer=self.clock)

    def last(self) -> records.Candidate:
        event = self.log.latest("digits", records.Candidate)
        assert event is not None
        record = records.unseal(event)
        assert isinstance(record, records.Candidate)
        return record


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    own = project.load(tree_of(folder))
    return House(own, MemoryRegistry(folder / "registry"), MemoryLog(), ManualClock())


@pytest.fixture(scope="module")
def accepted(house: House) -> records.Candidate:
    return house.make(candidate.CandidateRequest(recipe=RECIPE, reason="first version"))


def test_a_good_candidate_is_accepted_registered_and_logged(
    house: House, accepted: records.Candidate
) -> None:
    assert accepted.status == "accepted"
    assert accepted.refusals == ()
    assert house.last() == accepted
    assert accepted.version in house.registry.tags("digits")
    assert accepted.figures["candidate_score"] > 0.85
    # The clock stands still, so both graphs look equally fast.
    assert accepted.figures["latency_gain"] == 1.0
    # Halving both layers of channels: the first conv costs a half, the second a quarter.
    assert 2.0 < accepted.figures["macs_ratio"] < 4.0


def test_the_dense_parent_is_a_version_of_its_own(
    house: House, accepted: records.Candidate
) -> None:
    assert house.registry.aliases("digits") == {"parent": accepted.parent}
    folder = house.registry.path(accepted.parent)
    manifest = artifact.verify(folder, accepted.parent)
    assert manifest.parent is None
    assert not (folder / artifact.SURGERY).exists()
    assert card.read(folder).lineage.origin == "trained"


def test_the_candidate_serves_what_was_evaluated(house: House, accepted: records.Candidate) -> None:
    folder = house.registry.path(accepted.version)
    version = runtime.Runtime(folder, expected_tag=accepted.version)
    holdout = digits.load_data().holdout
    answers = version.predict(holdout.inputs).scores
    score = float((answers.argmax(axis=1) == holdout.targets).mean())
    assert score == pytest.approx(accepted.figures["candidate_score"], abs=1e-9)
    assert version.manifest.accepted == pytest.approx(score)
    assert (version.manifest.accepted_rows, version.manifest.parent) == (300, accepted.parent)


def test_the_card_holds_lineage_recipe_every_column_and_every_gate(
    house: House, accepted: records.Candidate
) -> None:
    found = card.read(house.registry.path(accepted.version))
    assert found.recipe == RECIPE
    assert found.lineage.parent == accepted.parent
    assert found.lineage.reason == "first version"
    assert found.lineage.rows["holdout"] == 300
    assert set(found.evaluation.holdout.columns) == {"parent", "null", "candidate"}
    assert {"pen=ink", "pen=lead", "class=0"} <= set(found.evaluation.holdout.slices)
    assert {"score", "min score", "latency"} <= {result.name for result in found.gates}
    assert found.quality.figures["leaked_share"] == 0.0


def test_the_same_request_gives_the_same_figures_and_uses_the_parent_again(
    house: House, accepted: records.Candidate
) -> None:
    again = house.make(candidate.CandidateRequest(recipe=RECIPE, reason="first version"))
    assert again.parent == accepted.parent
    assert again.figures == accepted.figures
    # Nothing differs, not even the time, so it is the same version.
    assert again.version == accepted.version


def test_an_over_pruned_candidate_is_refused_with_gate_figure_and_threshold(
    house: House, accepted: records.Candidate
) -> None:
    over = dataclasses.replace(RECIPE, amount=0.95, finetune_epochs=0)
    with pytest.raises(errors.GateRefused, match=r"gate 'score': a drop of .* exceeds the 5\.00"):
        house.make(candidate.CandidateRequest(recipe=over))
    refused = house.last()
    assert refused.status == "refused"
    assert refused.refusals[0].startswith("gate 'score'")
    # It can be looked at, but no alias points at it.
    found = card.read(house.registry.path(refused.version))
    assert found.status == "refused"
    assert house.registry.aliases("digits") == {"parent": accepted.parent}


def test_a_refusal_names_the_nearest_recipe_of_the_same_parent_that_passed(
    house: House, accepted: records.Candidate
) -> None:
    over = dataclasses.replace(RECIPE, amount=0.95, finetune_epochs=0)
    with pytest.raises(errors.GateRefused, match="that passed: 50% of the channels by magnitude"):
        house.make(candidate.CandidateRequest(recipe=over))
    (first, *_) = house.last().refusals
    assert accepted.version in first


def test_what_is_not_inspected_is_listed_and_not_judged(
    house: House, accepted: records.Candidate
) -> None:
    found = card.read(house.registry.path(accepted.version))
    assert {each.status for each in found.sections.values()} == {"off"}
    assert gates.not_judged(found.gates) == tuple(gate.name for gate in gates.SECTION_GATES)


def test_sections_measure_copies_so_that_none_changes_what_is_packed(
    house: House, accepted: records.Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inspection.SECTIONS, "cost", "tests.support.vandal_section")
    inspected = settings.InspectSettings(sections=("cost",))
    tree = house.own.settings.model_copy(update={"inspect": inspected})
    own = dataclasses.replace(house.own, settings=tree)
    made = house._replace(own=own).make(candidate.CandidateRequest(recipe=RECIPE))
    found = card.read(house.registry.path(made.version))
    assert found.sections["cost"].figures["broken"].value == 3.0
    assert made.figures == accepted.figures
    assert found.gates == card.read(house.registry.path(accepted.version)).gates


def test_force_registers_what_the_gates_refuse_and_says_so(house: House) -> None:
    over = dataclasses.replace(RECIPE, amount=0.95, finetune_epochs=0)
    forced = house.make(candidate.CandidateRequest(recipe=over, force=True))
    assert forced.status == "forced"
    assert forced.refusals
    assert card.read(house.registry.path(forced.version)).status == "forced"


def test_without_recovery_the_null_control_is_the_dense_parent(house: House) -> None:
    made = house.make(candidate.CandidateRequest(recipe=QUICK, force=True))
    assert made.figures["null_score"] == made.figures["parent_score"]


def test_recovery_on_one_slice_sees_only_its_rows(house: House) -> None:
    made = house.make(candidate.CandidateRequest(recipe=SHORT, recover_on="pen=ink", force=True))
    assert card.read(house.registry.path(made.version)).lineage.rows["recovery"] == 250


def test_an_unknown_slice_to_recover_on_lists_the_known_ones(house: House) -> None:
    with pytest.raises(errors.ProjectError, match="known: pen=ink, pen=lead"):
        house.make(candidate.CandidateRequest(recipe=RECIPE, recover_on="pen=chalk"))


@pytest.fixture
def serving(house: House, accepted: records.Candidate, tmp_path: Path) -> House:
    """A registry of its own, in which the accepted version serves."""
    registry = MemoryRegistry(tmp_path)
    for tag in (accepted.parent, accepted.version):
        registry.add(house.registry.path(tag))
    registry.point("digits", {"champion": accepted.version, "parent": accepted.parent})
    return house._replace(registry=registry)


def part(rows: int, start: int) -> project.Split:
    """Scans of traffic at half the contrast."""
    traffic = digits.splits()["traffic"].take(np.arange(start, start + rows))
    return dataclasses.replace(traffic, inputs={"pixels": traffic.inputs["pixels"] * 0.5})


@pytest.fixture(scope="module")
def production() -> dataset.Production:
    return dataset.Production(older=part(0, 0), recent=part(300, 0), held_back=part(60, 300))


def test_a_retrained_parent_keeps_the_fingerprint_and_gets_a_candidate_judged_on_production(
    serving: House, accepted: records.Candidate, production: dataset.Production
) -> None:
    made = serving.make(
        candidate.CandidateRequest(
            recipe=RECIPE,
            cause="world",
            reason="the lamp wore out",
            production=production,
            parent=accepted.parent,
            refit=True,
        )
    )
    assert made.status == "accepted"
    assert made.reason == "world"
    assert made.parent != accepted.parent
    assert serving.registry.aliases("digits")["parent"] == made.parent
    old, new = (card.read(serving.registry.path(tag)) for tag in (accepted.parent, made.parent))
    assert new.lineage.origin == "retrained"
    assert new.lineage.fingerprint == old.lineage.fingerprint
    table = card.read(serving.registry.path(made.version)).evaluation.production
    assert table is not None
    assert set(table.columns) == {"parent", "null", "candidate", "champion"}
    # What to expect of live traffic comes from production: two right, two wrong rows added to 60.
    manifest = artifact.read_manifest(serving.registry.path(made.version))
    assert manifest.accepted == pytest.approx((table.score("candidate") * 60 + 2) / 64)
    assert manifest.accepted_rows == 60


def test_monitoring_compares_a_retrained_version_with_production(
    house: House, production: dataset.Production
) -> None:
    made = house.make(candidate.CandidateRequest(recipe=QUICK, production=production, force=True))
    folder = house.registry.path(made.version)
    reference = artifact.load_tensors(folder, artifact.REFERENCE)
    # 60 held-back rows are too few alone, so the 300 recent ones stand beside them.
    assert reference["targets"].tolist() == [
        *production.held_back.targets.tolist(),
        *production.recent.targets.tolist(),
    ]


def test_a_milder_cut_starts_from_exactly_the_registered_parent(
    house: House, accepted: records.Candidate
) -> None:
    made = house.make(
        candidate.CandidateRequest(
            recipe=QUICK.milder(0.5), cause="pruning", parent=accepted.parent, force=True
        )
    )
    assert made.parent == accepted.parent
    parent = parents.registered(house.own, house.registry, made.parent)
    rebuilt = weights.rebuild(digits.build_model, house.registry.path(accepted.parent))
    assert all(
        np.array_equal(parent.model.state_dict()[name], value)
        for name, value in rebuilt.state_dict().items()
    )
    assert made.figures["macs_ratio"] < accepted.figures["macs_ratio"]


def test_a_pruned_version_cannot_be_a_parent(house: House, accepted: records.Candidate) -> None:
    with pytest.raises(errors.ArtifactError, match="is itself pruned"):
        house.make(candidate.CandidateRequest(recipe=RECIPE, parent=accepted.version))


def test_a_callback_that_raises_stops_the_flow_and_leaves_no_candidate(
    house: House, accepted: records.Candidate
) -> None:
    def stop(phase: str, share: float) -> None:
        if phase == "recover" and share > 0.0:
            raise KeyboardInterrupt

    before = house.last()
    with pytest.raises(KeyboardInterrupt):
        candidate.make(
            house.own,
            house.registry,
            house.log,
            candidate.CandidateRequest(recipe=RECIPE),
            progress=stop,
            timer=house.clock,
        )
    assert house.last() == before


def test_progress_names_every_phase_in_order(house: House, accepted: records.Candidate) -> None:
    told: list[tuple[str, float]] = []
    candidate.make(
        house.own,
        house.registry,
        house.log,
        candidate.CandidateRequest(recipe=SHORT, force=True),
        progress=lambda phase, share: told.append((phase, share)),
        timer=house.clock,
    )
    assert list(dict(told)) == [
        "data",
        "parent",
        "prune",
        "recover",
        "null control",
        "export",
        "choose",
        "evaluate",
        "latency",
        "inspect",
        "pack",
    ]
    assert [share for phase, share in told if phase == "recover"][:2] == [0.0, pytest.approx(0.5)]


def test_the_card_is_written_with_its_keys_in_order(
    house: House, accepted: records.Candidate
) -> None:
    tree = json.loads((house.registry.path(accepted.version) / artifact.CARD).read_text())
    assert list(tree)[:5] == ["schema", "status", "lineage", "recipe", "libraries"]
