"""The flow for other kinds of project: regression, several inputs, a checkpoint, no BatchNorm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from coppice import artifact, errors, project, records, runtime, settings
from coppice.testing import ManualClock, MemoryLog, MemoryRegistry
from retrain import candidate, card
from retrain.pruning import recipe

pytestmark = pytest.mark.slow

RECIPE = recipe.Recipe(
    criterion="magnitude", amount=0.5, align=4, finetune_epochs=5, learning_rate=5e-3
)


class Towers(nn.Module):
    """Two named inputs, each with a tower of its own, joined for one answer."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.left = nn.Linear(3, 16)
        self.right = nn.Linear(2, 16)
        self.joined = nn.Linear(32, 16)
        self.last = nn.Linear(16, answers)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.left(left).relu(), self.right(right).relu()], dim=1)
        return self.last(self.joined(both).relu())


def regression_split(rows: int, seed: int) -> project.Split:
    random = np.random.default_rng(seed)
    left = random.normal(size=(rows, 3)).astype(np.float32)
    right = random.normal(size=(rows, 2)).astype(np.float32)
    targets = left[:, 0] + 0.5 * right[:, 1] ** 2
    return project.Split(
        inputs={"left": left, "right": right},
        targets=targets,
        slices={"side": np.where(left[:, 0] > 0, "plus", "minus")},
    )


def binary_split(rows: int, seed: int) -> project.Split:
    found = regression_split(rows, seed)
    return project.Split(inputs=found.inputs, targets=(found.targets > 0.5).astype(np.int64))


REGRESSION = project.Data(
    train=regression_split(800, 0),
    validation=regression_split(100, 1),
    holdout=regression_split(200, 2),
)
BINARY = project.Data(
    train=binary_split(800, 0),
    validation=binary_split(100, 1),
    holdout=binary_split(200, 2),
    classes=("no", "yes"),
)


def regression(folder: Path, **fields: Any) -> project.Project:
    tree = settings.Settings(
        root=folder,
        project=settings.ProjectSettings(name="price", task="regression", scale=2.0, **fields),
        train=settings.TrainSettings(epochs=15, learning_rate=1e-2),
        gates=settings.GateSettings(max_score_drop=0.1, max_slice_drop=0.2),
        inspect=settings.InspectSettings(sections=()),
    )
    return project.Project(
        settings=tree, build_model=lambda: Towers(1), load_data=lambda: REGRESSION
    )


def binary(folder: Path) -> project.Project:
    tree = settings.Settings(
        root=folder,
        project=settings.ProjectSettings(name="fraud", task="binary"),
        train=settings.TrainSettings(epochs=8, learning_rate=1e-2),
        gates=settings.GateSettings(max_score_drop=0.1, max_slice_drop=0.2),
        inspect=settings.InspectSettings(sections=()),
    )
    return project.Project(settings=tree, build_model=lambda: Towers(2), load_data=lambda: BINARY)


def make(
    own: project.Project, registry: MemoryRegistry, **fields: Any
) -> tuple[records.Candidate, card.Card]:
    request = candidate.CandidateRequest(recipe=RECIPE, **fields)
    made = candidate.make(own, registry, MemoryLog(), request, timer=ManualClock())
    return made, card.read(registry.path(made.version))


def test_a_regression_is_judged_by_its_errors_over_the_stated_scale(tmp_path: Path) -> None:
    registry = MemoryRegistry(tmp_path / "registry")
    made, found = make(regression(tmp_path), registry)
    assert made.status == "accepted"
    table = found.evaluation.holdout
    assert set(table.columns["candidate"]) == {"rows", "score", "mae", "rmse", "r2"}
    # No error reaches the scale of 2, so the score is exactly 1 - mae / 2.
    assert table.score("candidate") == pytest.approx(
        1.0 - table.columns["candidate"]["mae"] / 2.0, abs=0.02
    )
    assert set(table.slices) == {"side=plus", "side=minus"}
    version = runtime.Runtime(registry.path(made.version), expected_tag=made.version)
    assert version.manifest.scale == 2.0
    answers = version.predict(REGRESSION.holdout.inputs).scores
    error = float(np.abs(answers - REGRESSION.holdout.targets).mean())
    assert error == pytest.approx(table.columns["candidate"]["mae"], abs=1e-4)


def test_a_binary_project_with_two_inputs_goes_the_whole_way(tmp_path: Path) -> None:
    registry = MemoryRegistry(tmp_path / "registry")
    made, found = make(binary(tmp_path), registry)
    assert made.status == "accepted"
    assert set(found.evaluation.holdout.slices) == {"class=no", "class=yes"}
    manifest = artifact.verify(registry.path(made.version), made.version)
    assert [spec.name for spec in manifest.inputs] == ["left", "right"]
    assert manifest.classes == ("no", "yes")


def test_a_checkpoint_becomes_the_dense_parent_without_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = Towers(1)
    save_file(trained.state_dict(), tmp_path / "trained.safetensors")
    registry = MemoryRegistry(tmp_path / "registry")
    own = regression(tmp_path, checkpoint=Path("trained.safetensors"))
    made, _ = make(own, registry, force=True)
    parent = registry.path(made.parent)
    assert card.read(parent).lineage.origin == "checkpoint"
    weights = artifact.load_tensors(parent, artifact.WEIGHTS)
    assert np.array_equal(weights["left.weight"], trained.left.weight.detach().numpy())


def test_a_changed_checkpoint_gives_a_new_parent(tmp_path: Path) -> None:
    registry = MemoryRegistry(tmp_path / "registry")
    own = regression(tmp_path, checkpoint=Path("trained.safetensors"))
    save_file(Towers(1).state_dict(), tmp_path / "trained.safetensors")
    first, _ = make(own, registry, force=True)
    same, _ = make(own, registry, force=True)
    save_file(Towers(1).state_dict(), tmp_path / "trained.safetensors")
    other, _ = make(own, registry, force=True)
    assert same.parent == first.parent
    assert other.parent != first.parent


def test_a_floor_that_nothing_reaches_refuses_by_name(tmp_path: Path) -> None:
    own = regression(tmp_path)
    strict = own.settings.model_copy(update={"gates": settings.GateSettings(min_score=0.9999)})
    strict_own = project.Project(
        settings=strict, build_model=own.build_model, load_data=own.load_data
    )
    with pytest.raises(errors.GateRefused, match=r"'min score': a mean score of 0\.\d+ lies below"):
        make(strict_own, MemoryRegistry(tmp_path / "registry"))


def test_a_model_that_does_not_fit_the_task_says_what_to_change(tmp_path: Path) -> None:
    own = binary(tmp_path)
    one = project.Project(
        settings=own.settings, build_model=lambda: Towers(1), load_data=own.load_data
    )
    with pytest.raises(errors.ProjectError, match="classes need one logit each"):
        make(one, MemoryRegistry(tmp_path / "registry"))


def test_data_that_cannot_be_loaded_name_the_cause(tmp_path: Path) -> None:
    def broken() -> object:
        raise OSError("the disk is gone")

    own = binary(tmp_path)
    bad = project.Project(settings=own.settings, build_model=own.build_model, load_data=broken)
    with pytest.raises(errors.ProjectError, match="the disk is gone"):
        make(bad, MemoryRegistry(tmp_path / "registry"))
