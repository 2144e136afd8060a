"""`coppice relay`; the process itself is tried in tests/integration/test_relay.py."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coppice import errors, settings
from coppice.eventlog import base
from coppice.eventlog.sqlite import SqliteLog
from service import relay, relay_recorder
from tests.support import command_line, events, serving
from tests.support.command_line import Call

KAFKA = (
    "[events]",
    'backend = "kafka"',
    "[kafka]",
    'servers = "127.0.0.1:1,127.0.0.1:2"',
    "deadline_seconds = 7",
    "relay_metrics_port = 3004",
)


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    return command_line.project(tmp_path, *KAFKA)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Take the place of the relay's loop, and keep what it is given."""
    given: dict[str, Any] = {}

    def main(sources: Mapping[str, relay.Source], cluster: relay.Cluster, **rest: Any) -> None:
        given.update(sources=dict(sources), cluster=cluster, **rest)

    monkeypatch.setattr(relay, "main", main)
    return given


def test_both_logs_of_the_machine_are_relayed(
    call: Call, tree: settings.Settings, handed_over: dict[str, Any]
) -> None:
    assert call("relay", "-C", tree.root).code == 0

    outbox, replica = (handed_over["sources"][name] for name in ("outbox", "events"))
    outbox.append([events.prediction()])
    assert replica.end() == base.START
    assert [path.name for path in sorted(tree.home.glob("*.sqlite"))] == [
        "events.sqlite",
        "outbox.sqlite",
    ]
    outbox.close()
    replica.close()


def test_what_was_relayed_and_is_old_goes_from_the_outbox_meanwhile(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ("[events]", 'backend = "kafka"', "retention_days = 1.0", *KAFKA[2:])
    tree = command_line.project(tmp_path, *kept)
    left: list[int] = []

    def main(sources: Mapping[str, Any], *_: object, **__: object) -> None:
        outbox = sources["outbox"]
        serving.wait_until(lambda: len(outbox.read(base.START).events) < 3)
        left.append(len(outbox.read(base.START).events))

    monkeypatch.setattr(relay, "main", main)
    with contextlib.closing(SqliteLog(tree.outbox_path)) as outbox:
        # Their time lies years back.
        outbox.append([events.command(), events.prediction("a"), events.prediction("b")])
        outbox.mark(relay.READER, "2")

    assert call("relay", "-C", tree.root).code == 0
    # A decision stays, and so does what was not relayed.
    assert left == [2]


def test_the_settings_are_heeded(
    call: Call, tree: settings.Settings, handed_over: dict[str, Any]
) -> None:
    call("relay", "-C", tree.root)
    cluster = handed_over["cluster"]

    # Nobody listens on ports 1 and 2.
    assert not cluster.reachable()
    assert cluster.deadline_seconds == 7.0
    assert (handed_over["host"], handed_over["port"]) == ("127.0.0.1", 3004)
    handed_over["recorder"].stuck()
    assert (tree.home / relay_recorder.FAILURES).read_bytes() == b"1"


def test_without_kafka_there_is_nothing_to_relay(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path)

    result = call("relay", "-C", tmp_path)

    assert result.code == errors.SettingsError.exit_code
    assert 'events.backend is "sqlite", so there is nothing to relay' in result.err
