"""`coppice log ... --from kafka`: the commands that look at the log, on the mock brokers."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from coppice import clock, settings
from coppice.eventlog import base, envelope
from coppice.eventlog.kafka import KafkaLog, Options
from coppice.eventlog.sqlite import SqliteLog
from coppice_cli import cluster
from coppice_cli import events as shown
from tests.support import command_line, events
from tests.support import kafka as mock

# kafka-python leaves sockets open whose connection was replaced.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SENT = [
    msgspec.structs.replace(events.command(), time=events.NOW + number) for number in range(5)
] + [msgspec.structs.replace(events.feedback("a"), time=events.NOW + 2.5)]
APART = "apart."
"""Prefix of topics to which a test writes."""


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    """Brokers with six events, one of them twice, and one record that is none."""
    brokers = mock.Cluster()
    brokers.make_topics(*envelope.all_topics(), *envelope.all_topics(APART), partitions=2)
    with contextlib.closing(KafkaLog(Options(brokers.servers, deadline_seconds=20.0))) as log:
        log.append([*SENT, SENT[0]])
        log._producer.send("coppice.verdict.v1", value=b"junk").get(timeout=10)
    yield ",".join(brokers.servers)
    brokers.close()
    gc.collect()


@pytest.fixture
def tree(tmp_path: Path, servers: str) -> settings.Settings:
    return command_line.project(tmp_path / "one", "[kafka]", f'servers = "{servers}"')


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> command_line.Call:
    return command_line.caller(capsys)


def test_the_newest_come_in_the_order_of_their_time(
    run: command_line.Call, tree: settings.Settings
) -> None:
    done = run("log", "tail", "-n", "3", "--from", "kafka", "-C", tree.root)

    ids = [json.loads(line)["id"] for line in done.out.splitlines()]
    # Seconds 2.5, 3 and 4.
    assert ids == [SENT[5].id, SENT[3].id, SENT[4].id]


def test_they_are_counted_where_the_brokers_are(
    run: command_line.Call, tree: settings.Settings, servers: str
) -> None:
    done = run("log", "stats", "--json", "--from", "kafka", "-C", tree.root)

    assert json.loads(done.out) == {
        "servers": servers,
        "prefix": "",
        "events": {"coppice.command.v1": 5, "coppice.feedback.v1": 1},
    }


def test_one_kind_can_be_exported(
    run: command_line.Call, tree: settings.Settings, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"

    run("log", "export", target, "--kind", "feedback", "--from", "kafka", "-C", tree.root)

    (row,) = map(json.loads, target.read_text(encoding="utf-8").splitlines())
    assert row["id"] == SENT[5].id


def test_all_machines_events_are_replayed_into_another_project(
    run: command_line.Call, tree: settings.Settings, tmp_path: Path
) -> None:
    other = command_line.project(tmp_path / "other")

    run("log", "replay", "--into", other.root, "--from", "kafka", "-C", tree.root)

    with contextlib.closing(SqliteLog(other.log_path)) as log:
        found = log.read(base.START).events
    assert {event.id for event in found} == {event.id for event in SENT}
    assert len(found) == len(SENT)


def test_what_comes_behind_the_newest_is_followed(tmp_path: Path, servers: str) -> None:
    tree = command_line.project(
        tmp_path, "[kafka]", f'servers = "{servers}"', f'prefix = "{APART}"'
    )
    first, second = events.command(), events.command()
    with contextlib.closing(KafkaLog(Options.of(tree))) as other, cluster.opened(tree) as log:
        other.append([first])
        newest = cluster.newest(log, 2, None)
        other.append([second])

        assert newest.events == [first]
        assert next(shown.follow(log, newest.position, None, clock.SystemClock())) == second


def test_looking_puts_nothing_into_the_dead_letters(
    run: command_line.Call, tree: settings.Settings, servers: str
) -> None:
    run("log", "stats", "--from", "kafka", "-C", tree.root)

    assert mock.records_of(servers.split(","), "coppice.verdict.v1" + envelope.DEAD) == []


def test_without_servers_it_says_what_to_set(run: command_line.Call, tmp_path: Path) -> None:
    alone = command_line.project(tmp_path)

    done = run("log", "tail", "--from", "kafka", "-C", alone.root)

    assert (done.code, "name the brokers" in done.err) == (2, True)
