"""`coppice follow`; the process itself is tried in tests/integration/test_follower.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coppice import errors, settings
from coppice.eventlog.sqlite import SqliteLog
from coppice.follow import loop
from tests.support import command_line, events
from tests.support.command_line import Call

KAFKA = (
    "[metrics]",
    'host = "127.0.0.2"',
    "[events]",
    'backend = "kafka"',
    "[kafka]",
    'servers = "127.0.0.1:1,127.0.0.1:2"',
    "deadline_seconds = 7",
    "follow_metrics_port = 3005",
)


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    return command_line.project(tmp_path, *KAFKA)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Take the place of the follower's loop, and keep what it is given."""
    given: dict[str, Any] = {}

    def main(log: SqliteLog, cluster: loop.Cluster, **rest: Any) -> None:
        given.update(log=log, cluster=cluster, **rest)

    monkeypatch.setattr(loop, "main", main)
    return given


def test_the_log_of_this_machine_is_the_one_that_is_filled(
    call: Call, tree: settings.Settings, handed_over: dict[str, Any]
) -> None:
    assert call("follow", "-C", tree.root).code == 0
    handed_over["log"].append([events.prediction()])
    handed_over["log"].close()
    assert [path.name for path in tree.home.glob("*.sqlite")] == ["events.sqlite"]


def test_the_settings_are_heeded(
    call: Call, tree: settings.Settings, handed_over: dict[str, Any]
) -> None:
    call("follow", "--once", "-C", tree.root)
    # Nobody listens on ports 1 and 2.
    assert not handed_over["cluster"].reachable()
    assert handed_over["cluster"].deadline_seconds == 7.0
    assert (handed_over["host"], handed_over["port"]) == ("127.0.0.2", 3005)
    assert handed_over["once"] is True
    handed_over["log"].close()


def test_without_kafka_there_is_nothing_to_follow(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path)
    result = call("follow", "-C", tmp_path)
    assert result.code == errors.SettingsError.exit_code
    assert 'events.backend is "sqlite", so there is nothing to follow' in result.err
