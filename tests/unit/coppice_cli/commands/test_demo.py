from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors
from coppice_cli.demo import app
from tests.support.command_line import Call


@pytest.mark.parametrize("code", [0, 1])
def test_the_demos_exit_code_is_the_commands(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    folders: list[Path | None] = []

    def play(folder: Path | None) -> int:
        folders.append(folder)
        return code

    monkeypatch.setattr(app, "main", play)
    assert call("demo", "--folder", tmp_path).code == code
    assert folders == [tmp_path]


def test_without_a_folder_the_demo_chooses_one(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path | None] = []
    monkeypatch.setattr(app, "main", folders.append)
    call("demo")
    assert folders == [None]


def test_a_folder_that_holds_something_is_not_played_in(call: Call, tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text("mine\n")
    result = call("demo", "--folder", tmp_path)
    assert result.code == errors.ProjectError.exit_code
    assert "is not empty (project.py)" in result.err
    assert (tmp_path / "project.py").read_text() == "mine\n"


def test_a_folder_that_cannot_be_made_is_told(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = call("demo", "--folder", tmp_path / "file" / "demo")
    assert result.code == errors.ProjectError.exit_code
    assert "cannot play in" in result.err
