from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from coppice import errors, project, settings
from coppice.testing import MemoryRegistry
from retrain import parents
from tests.support import artifacts


def build_model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))


def split(rows: int) -> project.Split:
    points = np.random.default_rng(rows).normal(size=(rows, 2)).astype(np.float32)
    return project.Split(inputs={"x": points}, targets=(points[:, 0] > 0).astype(np.int64))


DATA = project.Data(train=split(64), validation=split(16), holdout=split(32), classes=("no", "yes"))


def own_of(folder: Path, **fields: Any) -> project.Project:
    tree = settings.Settings(
        root=folder,
        project=settings.ProjectSettings(name="m", task="binary", **fields),
        train=settings.TrainSettings(epochs=3, learning_rate=0.05),
    )
    return project.Project(settings=tree, build_model=build_model, load_data=lambda: DATA)


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def ignore(share: float) -> None:
    del share


def test_training_is_repeatable_and_tells_its_progress(tmp_path: Path) -> None:
    told: list[float] = []
    first = parents.make(own_of(tmp_path), DATA, progress=told.append)
    second = parents.make(own_of(tmp_path), DATA, progress=ignore)
    assert first.origin == "trained"
    assert same(first.model, second.model)
    assert told == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_a_checkpoint_takes_the_place_of_training(tmp_path: Path) -> None:
    model = build_model()
    save_file(model.state_dict(), tmp_path / "trained.safetensors")
    own = own_of(tmp_path, checkpoint=Path("trained.safetensors"))
    parent = parents.make(own, DATA, progress=ignore)
    assert parent.origin == "checkpoint"
    assert same(parent.model, model)


def test_a_model_with_more_answers_than_classes_is_refused(tmp_path: Path) -> None:
    own = dataclasses.replace(
        own_of(tmp_path, checkpoint=Path("trained.safetensors")),
        build_model=lambda: nn.Linear(2, 3),
    )
    save_file(nn.Linear(2, 3).state_dict(), tmp_path / "trained.safetensors")
    with pytest.raises(errors.ProjectError, match="answers with 3 classes, the data has 2"):
        parents.make(own, DATA, progress=ignore)


def test_a_copy_can_be_changed_without_changing_the_parent(tmp_path: Path) -> None:
    own = own_of(tmp_path)
    parent = parents.make(own, DATA, progress=ignore)
    copy = parents.copy_of(own, parent)
    assert same(copy, parent.model)
    with torch.no_grad():
        next(copy.parameters()).zero_()
    assert not same(copy, parent.model)


def test_training_again_leaves_the_old_parent_as_it_was(tmp_path: Path) -> None:
    own = own_of(tmp_path)
    old = parents.make(own, DATA, progress=ignore)
    before = {name: value.clone() for name, value in old.model.state_dict().items()}
    new = parents.retrain(own, old, split(80), 2, progress=ignore)
    assert new.origin == "retrained"
    assert not same(new.model, old.model)
    assert all(torch.equal(before[name], value) for name, value in old.model.state_dict().items())


def test_the_fingerprint_follows_data_settings_and_checkpoint(tmp_path: Path) -> None:
    own = own_of(tmp_path)
    before = parents.fingerprint(own, DATA)
    assert parents.fingerprint(own, DATA) == before
    assert parents.fingerprint(own, dataclasses.replace(DATA, train=split(65))) != before
    longer = own.settings.model_copy(update={"train": settings.TrainSettings(epochs=4)})
    assert parents.fingerprint(dataclasses.replace(own, settings=longer), DATA) != before
    assert parents.fingerprint(own_of(tmp_path, seed=1), DATA) != before
    (tmp_path / "w").write_bytes(b"weights")
    assert parents.fingerprint(own_of(tmp_path, checkpoint=Path("w")), DATA) != before


def test_a_model_factory_without_source_still_has_a_fingerprint(tmp_path: Path) -> None:
    class Factory:
        def __call__(self) -> nn.Module:
            return build_model()

    own = dataclasses.replace(own_of(tmp_path), build_model=Factory())
    assert parents.fingerprint(own, DATA)


def test_without_a_registered_parent_there_is_none_to_use_again(tmp_path: Path) -> None:
    assert parents.reusable(own_of(tmp_path), MemoryRegistry(tmp_path), "wanted") is None


def test_a_parent_that_something_else_packed_is_not_used_again(tmp_path: Path) -> None:
    registry = MemoryRegistry(tmp_path / "registry")
    artifacts.linear_classifier(tmp_path / "made", name="m")
    tag = registry.add(tmp_path / "made")
    registry.point("m", {"parent": tag})
    assert parents.reusable(own_of(tmp_path), registry, "wanted") is None


def test_a_parent_whose_weights_no_longer_fit_says_so(tmp_path: Path) -> None:
    save_file(nn.Linear(3, 3).state_dict(), tmp_path / "w")
    with pytest.raises(errors.ProjectError, match="does not fit the model"):
        parents.make(own_of(tmp_path, checkpoint=Path("w")), DATA, progress=ignore)
