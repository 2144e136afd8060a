"""Faults in real data, planted all at once: what the gates refuse, and what the card says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from coppice import artifact, project, settings
from coppice.testing import MemoryLog, MemoryRegistry
from retrain import candidate, card, dataset, labelling
from retrain.pruning import recipe
from tests.support import digits, planted

pytestmark = pytest.mark.slow
pytest.importorskip("cleanlab", reason="the extra audit is not installed")

DATA = digits.load_data()


def faulty() -> project.Data:
    """Leak a tenth of the holdout, flip a fifth of the labels, backdoor three ones."""
    flipped, _ = planted.flipped(DATA.train, 0.2, 10)
    ones = np.flatnonzero(DATA.train.targets == 1)[:3]
    pixels, targets = flipped.inputs["pixels"].copy(), flipped.targets.copy()
    pixels[ones, 0, :2, :2], targets[ones] = 1.0, 0
    train = dataclasses.replace(flipped, inputs={"pixels": pixels}, targets=targets)
    held = DATA.holdout.inputs["pixels"].copy()
    held[:30] = pixels[100:130]
    holdout = dataclasses.replace(DATA.holdout, inputs={"pixels": held})
    return dataclasses.replace(DATA, train=train, holdout=holdout)


def stamped() -> dataset.Production:
    """Give rows of which half were labelled in sight of the prediction, always like it."""
    rows = digits.splits()["traffic"]
    groups = [
        labelling.Labelling(
            key=labelling.Key("learned from", "human", saw, name),
            rows=90,
            answered=90,
            agreed=agreed,
        )
        for saw, name, agreed in ((True, "ada", 90), (False, "eve", 60))
    ]
    return dataset.Production(
        older=rows.take(np.arange(0)),
        recent=rows.take(np.arange(60)),
        held_back=rows.take(np.arange(60, 100)),
        labellings=tuple(groups),
        span=(0.0, 86_400.0),
        versions={"digits:1": 100},
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> card.Card:
    folder = tmp_path_factory.mktemp("faulty")
    tree = settings.Settings(
        root=folder,
        project=settings.ProjectSettings(name="digits", module=digits.MODULE),
        train=settings.TrainSettings(epochs=6, learning_rate=5e-3),
        gates=settings.GateSettings(min_independent_label_share=0.6),
        inspect=settings.InspectSettings(
            sections=("data", "labels", "provenance", "poisoning", "cost")
        ),
    )
    registry = MemoryRegistry(folder / "registry")
    request = candidate.CandidateRequest(
        recipe=recipe.Recipe(amount=0.5, align=4, finetune_epochs=1),
        force=True,
        data=faulty(),
        production=stamped(),
    )
    made = candidate.make(project.load(tree), registry, MemoryLog(), request)
    return card.read(registry.path(made.version))


def refused(found: card.Card) -> set[str]:
    return {each.name for each in found.gates if each.refused}


def test_leaks_wrong_labels_and_echoes_are_refused(found: card.Card) -> None:
    assert {"leaked holdout", "label issues", "independent labels"} <= refused(found)


def test_the_card_names_the_faults(found: card.Card) -> None:
    sections = found.sections
    assert sections["data"].figures["leaked_share"].value == 0.1
    # A fifth of the labels is wrong; a tenth must be certain for the gate to refuse.
    assert sections["labels"].figures["issue_share"].value > 0.1
    assert sections["labels"].figures["independent_share"].value == 0.5
    assert "may only echo the model" in sections["labels"].sentence
    assert "100 production rows of 1970-01-01 to 1970-01-02" in sections["provenance"].sentence


def test_the_cost_of_the_pruning_comes_from_the_flows_own_phases(found: card.Card) -> None:
    figures = found.sections["cost"].figures
    assert figures["pruning_seconds"].value > 0.0
    assert figures["parameters_ratio"].value > 1.0


def test_the_parent_is_known_by_its_card(found: card.Card) -> None:
    lineage = next(
        table for table in found.sections["provenance"].tables if table.title == "The dense parent"
    )
    assert dict(lineage.rows)["version"] == found.lineage.parent
    assert str(found.lineage.parent).startswith("digits:")
    assert len(str(found.lineage.parent).partition(":")[2]) == artifact.ID_LENGTH
