from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

import monitoring.loop
import retrain.loop
from coppice import errors, records, settings, telemetry
from tests.support import command_line, pages
from tests.support.command_line import Call


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    return command_line.project(tmp_path, "[serve]", f"port = {pages.free_port()}")


def test_the_server_takes_the_place_of_the_process(
    call: Call, tree: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execvpe", lambda *words: started.append(words))
    assert call("serve", "-C", tree.root).code == 0
    ((program, words, environment),) = started
    assert program == words[0] == sys.executable
    assert words[1:4] == ["-m", "bentoml", "serve"]
    assert environment["COPPICE_PROJECT"] == str(tree.root)


def test_a_taken_port_is_an_error_before_anything_starts(call: Call, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        command_line.project(tmp_path, "[serve]", f"port = {other.getsockname()[1]}")
        result = call("serve", "-C", tmp_path)
    assert result.code == errors.EnvironmentProblem.exit_code
    assert "COPPICE_SERVE__PORT" in result.err


def test_the_monitor_runs_with_the_projects_settings(
    call: Call, tree: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[settings.Settings] = []
    monkeypatch.setattr(monitoring.loop, "main", ran.append)
    assert call("monitor", "-C", tree.root).code == 0
    assert ran == [tree]


def test_the_retrainer_runs_with_the_projects_settings(
    call: Call, tree: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[settings.Settings] = []
    monkeypatch.setattr(retrain.loop, "main", ran.append)
    assert call("retrain", "-C", tree.root).code == 0
    assert ran == [tree]


@pytest.fixture
def unconfigured_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep loggers, which are remembered for ever, from this test's own streams."""
    monkeypatch.setattr(telemetry, "configure", lambda _: None)


@pytest.mark.usefixtures("unconfigured_logs")
def test_one_turn_of_the_retrainer_ends_by_itself(call: Call, tree: settings.Settings) -> None:
    result = call("retrain", "-C", tree.root, "--once")
    assert (result.code, result.out) == (0, "no verdict of decay waits for an answer\n")


@pytest.mark.usefixtures("unconfigured_logs")
def test_one_turn_of_the_retrainer_tells_what_it_held_back(
    call: Call, tree: settings.Settings
) -> None:
    champion = records.Rollout(
        model="tiny", stage="idle", champion="tiny:a", outcome="promoted", reason="the first"
    )
    decay = records.Verdict(
        model="tiny",
        version="tiny:a",
        scope="champion",
        kind="decay",
        cause="world",
        reason="81% of 300 labels",
    )
    command_line.keep(tree, champion, decay)
    result = call("retrain", "-C", tree.root, "--once")
    assert result.code == 0
    assert "retraining held: " in result.out
