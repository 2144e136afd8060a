from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors
from coppice_cli import main
from tests.support import command_line, command_words
from tests.support.command_line import Call

MODULE = "def build_model(): ...\ndef load_data(): ...\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    command_line.project(tmp_path, 'module = "project_to_sweep"')
    (tmp_path / "project_to_sweep.py").write_text(MODULE)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--criteria", "tailor"], "did you mean 'taylor'"),
        (["--amounts", "0.3,much"], "'0.3,much' is no list of amounts"),
        (["--amounts", "1.5"], "amount is 1.5"),
        (["--level", "neurone"], "did you mean 'neuron'"),
        (["--recipe", "no-such-file.json"], "no-such-file.json cannot be read"),
    ],
)
def test_a_sweep_that_cannot_be_carried_out_is_refused_before_any_work(
    call: Call, folder: Path, words: list[str], text: str
) -> None:
    result = call("sweep", "-C", folder, *words)
    assert result.code == errors.PruningError.exit_code
    assert text in result.err
    assert not (folder / ".coppice" / "sweep").exists()


def test_no_seed_is_wrong_usage(call: Call, folder: Path) -> None:
    assert call("sweep", "-C", folder, "--seeds", "0").code == 2


def test_data_that_is_none_is_an_error_of_the_project(call: Call, folder: Path) -> None:
    result = call("sweep", "-C", folder, "--criteria", "taylor")
    assert result.code == errors.ProjectError.exit_code
    assert "load_data() returned NoneType" in result.err


@pytest.mark.parametrize("command", ["sweep", "prune"])
def test_examples_in_the_help_are_understood(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main.invoke([command, "--help"]) == 0
    told = capsys.readouterr().out.replace("Example:", "\n")
    shown = [words for words in command_words.in_script(told) if words[:1] == [command]]
    assert shown != []
    assert [command_words.complaint(words) for words in shown] == [""] * len(shown)
