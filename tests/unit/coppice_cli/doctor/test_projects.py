from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from coppice import errors, project, settings
from coppice_cli.doctor import projects
from tests.support import command_line


def _split(
    rows: int, *, start: int = 0, slices: dict[str, list[str]] | None = None
) -> project.Split:
    """Return rows that all differ, with alternating classes."""
    numbers = np.arange(start, start + rows)
    return project.Split(
        inputs={"x": np.stack([numbers, numbers + 0.5], axis=1).astype(np.float32)},
        targets=(numbers % 2).astype(np.int64),
        slices={name: np.array(values) for name, values in (slices or {}).items()},
    )


DATA = project.Data(
    train=_split(400),
    validation=_split(100, start=1000),
    holdout=_split(120, start=2000, slices={"pen": ["ink"] * 100 + ["chalk"] * 20}),
    classes=("even", "odd"),
)


def _model() -> torch.nn.Module:
    return torch.nn.Linear(2, 2)


@pytest.fixture
def loaded(tmp_path: Path) -> project.Project:
    tree = command_line.project(tmp_path, 'task = "binary"')
    return project.Project(settings=tree, build_model=_model, load_data=lambda: DATA)


def _with_checkpoint(tmp_path: Path, loaded: project.Project) -> project.Project:
    tree = command_line.project(tmp_path, 'task = "binary"', 'checkpoint = "dense.safetensors"')
    return dataclasses.replace(loaded, settings=tree)


def test_sizes_and_inputs_are_told() -> None:
    (found,) = projects.split_sizes(DATA)
    assert found.level == "ok"
    assert found.text == "rows: train 400, validation 100, holdout 120; inputs: x float32[2]"


def test_a_small_holdout_is_a_warning() -> None:
    data = dataclasses.replace(DATA, holdout=_split(99))
    assert [found.level for found in projects.split_sizes(data)] == ["ok", "warning"]


def test_few_rows_to_train_on_are_a_warning() -> None:
    data = dataclasses.replace(DATA, train=_split(99))
    assert [found.text for found in projects.split_sizes(data)][1:] == [
        "there are only 99 rows to train on and to recover on from a cut"
    ]


def test_a_hundred_rows_to_train_on_are_none() -> None:
    (found,) = projects.split_sizes(dataclasses.replace(DATA, train=_split(100)))
    assert found.level == "ok"


def test_small_slices_are_reported_beside_those_that_are_gated() -> None:
    small, watched = projects.slices(DATA, least=30)
    assert (small.level, small.text) == ("warning", "too small to gate: pen=chalk (20 rows)")
    assert (watched.level, watched.text) == ("ok", "1 slices are gated")


def test_without_slices_one_is_told_how_to_name_them() -> None:
    data = dataclasses.replace(DATA, holdout=_split(120))
    (found,) = projects.slices(data, least=30)
    assert "Split(slices=" in found.remedy


def test_doubtful_data_are_warned_of() -> None:
    data = dataclasses.replace(DATA, holdout=_split(120, start=390))
    # Rows 390 to 399 of the holdout are training rows: 10 of 120.
    assert [(found.level, found.text) for found in projects.quality(data)] == [
        ("warning", "8.3% of the holdout rows are in the training split too")
    ]


def test_data_in_order_need_no_word() -> None:
    assert list(projects.quality(DATA)) == []


def test_a_model_that_fits_is_ok(loaded: project.Project) -> None:
    (found,) = projects.model(loaded, DATA)
    # Two weights and a bias for each of two classes.
    assert found.text == "builds, fits data and task; 6 parameters"


def test_a_model_that_does_not_fit_the_task_is_explained(loaded: project.Project) -> None:
    wrong = dataclasses.replace(loaded, build_model=lambda: torch.nn.Linear(2, 1))
    with pytest.raises(errors.ProjectError, match="one logit each"):
        list(projects.model(wrong, DATA))


def test_a_model_that_changes_between_calls_is_a_problem(loaded: project.Project) -> None:
    widths = iter([3, 4])

    def changing() -> torch.nn.Module:
        width = next(widths)
        return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Linear(width, 2))

    first, _ = projects.model(dataclasses.replace(loaded, build_model=changing), DATA)
    assert first.level == "problem"
    assert "another architecture" in first.text


def test_without_a_checkpoint_the_parent_is_trained(loaded: project.Project) -> None:
    (found,) = projects.checkpoint(loaded)
    assert found.level == "ok"


def test_a_checkpoint_that_fits_is_ok(tmp_path: Path, loaded: project.Project) -> None:
    safetensors.torch.save_file(_model().state_dict(), tmp_path / "dense.safetensors")
    (found,) = projects.checkpoint(_with_checkpoint(tmp_path, loaded))
    assert (found.level, found.text) == ("ok", "2 tensors fit the model")


def test_a_checkpoint_of_another_model_is_a_problem(
    tmp_path: Path, loaded: project.Project
) -> None:
    other = torch.nn.Linear(3, 2).state_dict()
    safetensors.torch.save_file(other, tmp_path / "dense.safetensors")
    (found,) = projects.checkpoint(_with_checkpoint(tmp_path, loaded))
    # The bias has the same shape in both.
    assert (found.level, found.text) == ("problem", "1 tensors do not fit build_model(): weight")


@pytest.mark.parametrize("content", [None, b"this is a pickle"])
def test_a_checkpoint_that_cannot_be_read_is_a_problem(
    tmp_path: Path, loaded: project.Project, content: bytes | None
) -> None:
    (tmp_path / "dense.safetensors").write_bytes(content or b"")
    (found,) = projects.checkpoint(_with_checkpoint(tmp_path, loaded))
    assert found.level == "problem"
    assert "safetensors.torch.save_file" in found.remedy


def test_a_missing_checkpoint_is_a_problem(tmp_path: Path, loaded: project.Project) -> None:
    (found,) = projects.checkpoint(_with_checkpoint(tmp_path, loaded))
    assert "cannot be read" in found.text


def test_where_the_module_was_found_is_told(loaded: project.Project) -> None:
    assert str(loaded.settings.root) in projects.module(loaded).text
    assert loaded.settings.project.module == settings.ProjectSettings(name="any").module
