from __future__ import annotations

from pathlib import Path

import pytest

from coppice import clock, errors, records
from coppice.registry.bento import BentoRegistry
from coppice_cli import compose
from tests.support import command_line


def test_a_misspelt_variable_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line.project(tmp_path)
    monkeypatch.setenv("COPPICE_SERV__PORT", "1")
    tree = compose.settings_of(tmp_path)
    assert tree.project.name == command_line.MODEL
    assert "COPPICE_SERV__PORT is not a setting" in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_settings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match="coppice init"):
        compose.settings_of(tmp_path)


def test_the_log_is_closed_at_the_end_of_the_block(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    with compose.event_log(tree) as log:
        assert log.latest(command_line.MODEL, records.Verdict) is None
    with pytest.raises(errors.EventLogError, match="is closed"):
        log.end()


def test_the_registry_lies_below_the_home_folder(tmp_path: Path) -> None:
    registry = compose.registry_of(command_line.project(tmp_path))
    assert isinstance(registry, BentoRegistry)
    assert registry.tags(command_line.MODEL) == []


def test_a_module_that_is_missing_is_an_error_of_the_project(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path, 'module = "no_such_module_anywhere"')
    with pytest.raises(errors.ProjectError, match="no_such_module_anywhere"):
        compose.project_of(tree)


def test_the_clock_is_the_machines() -> None:
    assert isinstance(compose.clock(), clock.SystemClock)


def test_the_actor_is_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert compose.actor() == "ada"


def test_a_user_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError

    monkeypatch.setattr(compose.getpass, "getuser", nameless)
    assert compose.actor() == "unknown"
