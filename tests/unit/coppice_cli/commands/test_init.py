from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors, settings
from tests.support.command_line import Call


def test_a_project_is_scaffolded_and_the_next_steps_are_told(call: Call, tmp_path: Path) -> None:
    result = call("init", tmp_path / "digits", "--task", "binary")
    assert (result.code, result.err) == (0, "")
    assert settings.load(tmp_path / "digits").project.name == "digits"
    for command in ("doctor", "prune", "up"):
        assert f"coppice {command} -C {tmp_path / 'digits'}" in result.out


def test_in_the_current_folder_the_next_steps_need_no_folder(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "    coppice doctor\n" in call("init", ".").out


def test_every_written_file_is_named(call: Call, tmp_path: Path) -> None:
    result = call("init", tmp_path)
    written = {line.removeprefix("wrote ") for line in result.out.splitlines() if "wrote" in line}
    assert written == {str(path) for path in tmp_path.iterdir()}


def test_a_project_that_is_there_is_left_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "coppice.toml").write_text("mine\n")
    result = call("init", tmp_path)
    assert result.code == errors.ProjectError.exit_code
    assert "nothing was written" in result.err
    assert (tmp_path / "coppice.toml").read_text() == "mine\n"


def test_an_unknown_task_is_wrong_usage_that_lists_the_known(call: Call, tmp_path: Path) -> None:
    result = call("init", tmp_path, "--task", "clustering")
    assert result.code == 2
    assert "multiclass" in result.err


def test_a_folder_with_a_space_can_be_pasted_into_a_shell(call: Call, tmp_path: Path) -> None:
    result = call("init", tmp_path / "my model")
    assert f"coppice prune -C '{tmp_path / 'my model'}'" in result.out
