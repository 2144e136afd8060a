from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import msgspec
import pytest

from coppice import errors, records, settings
from coppice.eventlog.sqlite import SqliteLog
from deploy import loop
from tests.support import command_line
from tests.support.command_line import Call

SHADOW = records.Rollout(
    model="tiny",
    stage="shadow",
    champion="tiny:a",
    candidate="tiny:b",
    outcome="started",
    reason="candidate made because of: world",
)
IDLE = msgspec.structs.replace(SHADOW, stage="idle", candidate=None)
ACTIONS = ["promote", "abort", "pause", "resume"]


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    return command_line.project(tmp_path)


def _commands(tree: settings.Settings) -> list[records.Event]:
    log = SqliteLog(tree.log_path)
    found = log.find(command_line.MODEL, records.Command)
    log.close()
    return found


def _answering(tree: settings.Settings, **changes: object) -> threading.Thread:
    """Start a thread that answers the first command as a controller would."""

    def answer() -> None:
        log = SqliteLog(tree.log_path)
        while (event := log.latest(command_line.MODEL, records.Command)) is None:
            time.sleep(0.01)
        state = msgspec.structs.replace(SHADOW, trigger=event.id, **changes)
        log.append([records.seal(state, source="test", now=1.0)])
        log.close()

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_the_state_and_its_steps_are_shown(call: Call, tree: settings.Settings) -> None:
    command_line.keep(tree, IDLE, SHADOW)
    result = call("rollout", "status", "-C", tree.root)
    assert result.code == 0
    assert result.out.startswith("tiny:b is compared in shadow with tiny:a")
    assert "started" in result.out


def test_the_state_is_json_on_demand(call: Call, tree: settings.Settings) -> None:
    command_line.keep(tree, IDLE, SHADOW)
    shown = json.loads(call("rollout", "status", "-C", tree.root, "--json", "-n", "1").out)
    assert shown["state"]["candidate"] == "tiny:b"
    assert len(shown["steps"]) == 1


def test_before_the_first_rollout_one_is_told_how_to_begin(
    call: Call, tree: settings.Settings
) -> None:
    assert "coppice prune" in call("rollout", "status", "-C", tree.root).out


@pytest.mark.parametrize("action", ACTIONS)
def test_without_a_champion_no_command_fits(
    call: Call, tree: settings.Settings, action: str
) -> None:
    result = call("rollout", action, "-C", tree.root)
    assert result.code == errors.RolloutError.exit_code
    assert f"there is nothing to {action}" in result.err
    assert _commands(tree) == []


@pytest.mark.parametrize("action", ACTIONS)
def test_without_a_rollout_no_command_fits(
    call: Call, tree: settings.Settings, action: str
) -> None:
    command_line.keep(tree, IDLE)
    result = call("rollout", action, "-C", tree.root)
    assert result.code == errors.RolloutError.exit_code
    assert "no rollout is running" in result.err


def test_a_command_is_kept_with_its_reason_where_no_controller_runs(
    call: Call, tree: settings.Settings
) -> None:
    command_line.keep(tree, SHADOW)
    result = call("rollout", "abort", "-C", tree.root, "-m", "smoke", "--wait", "0")
    assert result.code == errors.EnvironmentProblem.exit_code
    assert "no controller answered within 0 s" in result.err
    (event,) = _commands(tree)
    kept = records.unseal(event)
    assert isinstance(kept, records.Command)
    assert (kept.action, kept.reason) == ("abort", "smoke")
    assert kept.actor


def test_the_outcome_is_told(call: Call, tree: settings.Settings) -> None:
    command_line.keep(tree, SHADOW)
    thread = _answering(tree, outcome="paused", paused=True)
    result = call("rollout", "pause", "-C", tree.root)
    thread.join()
    assert (result.code, result.out) == (
        0,
        "tiny:b is compared in shadow with tiny:a, paused\n",
    )


def test_a_refusal_of_the_controller_ends_with_7(call: Call, tree: settings.Settings) -> None:
    command_line.keep(tree, SHADOW)
    thread = _answering(tree, outcome="refused", reason="promote refused: no rollout is running")
    result = call("rollout", "promote", "-C", tree.root)
    thread.join()
    assert result.code == errors.RolloutError.exit_code
    assert "promote refused" in result.err


def test_the_controller_runs_with_the_projects_settings(
    call: Call, tree: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[settings.Settings] = []
    monkeypatch.setattr(loop, "main", ran.append)
    assert call("rollout", "run", "-C", tree.root).code == 0
    assert ran == [tree]
