from __future__ import annotations

from pathlib import Path

import pytest

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
