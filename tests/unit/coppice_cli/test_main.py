from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import coppice
from coppice import errors
from coppice_cli import guard, main
from tests.support.command_line import Call

HEAVY = ("torch", "bentoml", "evidently", "onnxruntime", "onnx", "sklearn", "numpy", "httpx")


def _commands(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    yield words
    for name, each in getattr(command, "commands", {}).items():
        yield from _commands(each, *words, name)


ALL = list(_commands(typer.main.get_command(main.app)))


def test_the_version_is_printed(call: Call) -> None:
    assert call("--version") == (0, f"coppice {coppice.__version__}\n", "")


def test_without_a_command_the_help_is_shown(call: Call) -> None:
    result = call()
    # 2 is what command lines return for wrong usage.
    assert result.code == 2
    assert "Usage: coppice" in result.out + result.err


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_explains_itself_within_80_columns(
    call: Call, words: tuple[str, ...]
) -> None:
    result = call(*words, "--help")
    assert result.code == 0
    assert f"Usage: {' '.join(('coppice', *words))}" in result.out
    assert max(len(line) for line in result.out.splitlines()) <= 80


def test_every_option_has_a_help_text() -> None:
    root: Any = typer.main.get_command(main.app)
    silent = [
        f"{command.name} {parameter.name}"
        for group in [root, *root.commands.values()]
        for command in [group, *getattr(group, "commands", {}).values()]
        for parameter in command.params
        if not parameter.help
    ]
    assert silent == []


def test_every_command_that_needs_a_project_takes_one_from_elsewhere() -> None:
    root: Any = typer.main.get_command(main.app)
    without = {
        command.name
        for group in [root, *root.commands.values()]
        for command in [group, *getattr(group, "commands", {}).values()]
        if not hasattr(command, "commands") and "folder" not in {p.name for p in command.params}
    }
    assert without == {"init"}


def test_an_error_of_ours_is_one_message_and_an_exit_code(call: Call, tmp_path: Path) -> None:
    result = call("status", "--project", tmp_path)
    assert result.code == errors.SettingsError.exit_code
    assert result.out == ""
    assert result.err.startswith("error: there is no coppice.toml in")
    assert "coppice init" in result.err
    assert "Traceback" not in result.err


def test_square_brackets_in_an_error_are_shown_as_they_are(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "inputs are ['a'], expected [rows, 4]"
    monkeypatch.setattr(guard, "check", _raiser(errors.RequestError(message)))
    assert call("--version").err == f"error: {message}\n"


def test_the_traceback_of_an_expected_error_is_shown_on_demand(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(main.DEBUG, "1")
    assert "Traceback" in call("status", "--project", tmp_path).err


def test_an_interrupt_ends_with_130(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "check", _raiser(KeyboardInterrupt()))
    assert call("--version").code == 130


def test_a_bug_keeps_its_traceback_and_says_that_it_is_one(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "check", _raiser(ZeroDivisionError("division by zero")))
    with pytest.raises(ZeroDivisionError) as caught:
        call("--version")
    assert caught.value.__notes__ == [
        "This is a bug in Coppice, not something that you did: please report it."
    ]


def test_wrong_usage_ends_with_2(call: Call) -> None:
    result = call("status", "--no-such-option")
    assert result.code == 2
    assert "--no-such-option" in result.err


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (errors.CoppiceError, 1),
        (errors.SettingsError, 2),
        (errors.ProjectError, 2),
        (errors.ArtifactCorrupt, 3),
        (errors.UnknownVersion, 3),
        (errors.GateRefused, 4),
        (errors.LogFull, 5),
        (errors.PruningError, 6),
        (errors.RolloutError, 7),
        (errors.EnvironmentProblem, 8),
    ],
)
def test_every_class_of_error_has_its_exit_code(
    call: Call, monkeypatch: pytest.MonkeyPatch, problem: type[errors.CoppiceError], code: int
) -> None:
    monkeypatch.setattr(guard, "check", _raiser(problem()))
    assert call("--version").code == code


def test_libraries_are_told_not_to_report_home(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    call("--version")
    assert os.environ["DO_NOT_TRACK"] == "1"


def test_start_up_imports_no_heavy_library() -> None:
    script = f"import sys, coppice_cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_shadowed_package_is_explained_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("raise RuntimeError('never imported')\n")
    done = subprocess.run(
        [sys.executable, "-m", "coppice_cli", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == errors.EnvironmentProblem.exit_code
    assert "hides Coppice's own package 'service'" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_output_into_a_pipe_has_no_colour_codes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coppice_cli", "status", "--project", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "\x1b" not in done.stdout + done.stderr


def test_the_console_script_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["coppice", "--version"])
    with pytest.raises(SystemExit) as caught:
        main.run()
    assert caught.value.code == 0


def _raiser(problem: BaseException) -> Any:
    def raise_it() -> None:
        raise problem

    return raise_it
