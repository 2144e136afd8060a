from __future__ import annotations

import sys
from pathlib import Path

import pytest

from coppice_cli.doctor import examination
from tests.support import command_line

MODULE = """
import numpy as np
import torch
from coppice.project import Data, Split

def build_model():
    return torch.nn.Linear(2, 2)

def load_data():
    rows = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)
    parts = [rows[:200], rows[200:400], rows[400:]]
    splits = [Split(inputs={"x": x}, targets=(x.sum(axis=1) > 0).astype(int),
                    slices={"sign": np.where(x[:, 0] > 0, "plus", "minus")}) for x in parts]
    return Data(train=splits[0], validation=splits[1], holdout=splits[2], classes=("no", "yes"))
"""


@pytest.fixture(autouse=True)
def path_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


def _levels(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in examination.examine(folder):
        found.setdefault(finding.check, set()).add(finding.level)
    return found


def _write(folder: Path, name: str, text: str) -> None:
    command_line.project(folder, 'task = "binary"', f'module = "{name}"')
    (folder / f"{name}.py").write_text(text)


def test_every_check_of_a_whole_project_is_fine(tmp_path: Path) -> None:
    _write(tmp_path, "whole_project", MODULE)
    levels = _levels(tmp_path)
    del levels["ports"]  # other programs on this machine may hold the default ports
    assert set().union(*levels.values()) == {"ok"}
    assert list(levels) == [
        "libraries",
        "packages",
        "variables",
        "settings",
        "disk",
        "event log",
        "registry",
        "routing",
        "project",
        "data",
        "slices",
        "model",
        "checkpoint",
    ]


def test_a_typo_in_the_settings_names_the_nearest_key_and_ends_the_examination(
    tmp_path: Path,
) -> None:
    (tmp_path / "coppice.toml").write_text('[project]\nname = "tiny"\n[serve]\nprot = 1\n')
    *_, last = examination.examine(tmp_path)
    assert (last.check, last.level) == ("settings", "problem")
    assert "did you mean 'port'" in last.text


def test_a_module_that_raises_is_a_problem_beside_the_other_checks(tmp_path: Path) -> None:
    _write(tmp_path, "raising_project", "raise RuntimeError('no GPU here')\n")
    *_, last = examination.examine(tmp_path)
    assert (last.check, last.level) == ("project", "problem")
    assert "no GPU here" in last.text


def test_data_that_breaks_the_contract_is_a_problem(tmp_path: Path) -> None:
    broken = MODULE.replace('classes=("no", "yes")', 'classes=("no",)')
    _write(tmp_path, "broken_data", broken)
    levels = _levels(tmp_path)
    assert levels["data"] == {"problem"}
    assert "model" not in levels


def test_a_model_of_the_wrong_width_is_a_problem_and_the_rest_goes_on(tmp_path: Path) -> None:
    wrong = MODULE.replace("torch.nn.Linear(2, 2)", "torch.nn.Linear(3, 2)")
    _write(tmp_path, "wrong_model", wrong)
    levels = _levels(tmp_path)
    assert levels["model"] == {"problem"}
    assert levels["checkpoint"] == {"ok"}


def test_a_log_that_is_no_log_is_a_problem_and_the_rest_goes_on(tmp_path: Path) -> None:
    _write(tmp_path, "project_with_broken_log", MODULE)
    (tmp_path / ".coppice").mkdir()
    (tmp_path / ".coppice" / "events.sqlite").write_bytes(b"not a database, but longer" * 100)
    levels = _levels(tmp_path)
    assert levels["event log"] == {"problem"}
    assert levels["model"] == {"ok"}


def test_a_routing_table_that_is_none_is_a_problem(tmp_path: Path) -> None:
    _write(tmp_path, "project_with_broken_table", MODULE)
    (tmp_path / ".coppice").mkdir()
    (tmp_path / ".coppice" / "routing.json").write_text("{}")
    assert _levels(tmp_path)["routing"] == {"problem"}


def test_a_file_that_may_not_be_read_is_a_problem_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, "whole_project_of_another", MODULE)

    def refuse(home: Path) -> None:
        # Whoever runs the tests may be one who may read everything.
        raise PermissionError(13, "Permission denied", str(home / "up.lock"))

    monkeypatch.setattr("coppice_cli.supervise.lock.read_status", refuse)
    found = {finding.check: finding for finding in examination.examine(tmp_path)}

    assert found["ports"].level == "problem"
    assert "Permission denied" in found["ports"].text
    assert "the rights of that file" in found["ports"].remedy
    assert found["data"].level == "ok"
