"""Monitors that share their work through Kafka, each a process of its own.

Against librdkafka's mock cluster of 3 brokers; skipped where confluent-kafka is not installed. The
group's protocol is the mock's: 3 to 5 seconds for each change of the members.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from coppice import errors, records
from coppice.eventlog import envelope
from coppice.eventlog.kafka import KafkaLog, Options
from coppice.eventlog.kafka_group import GroupReader
from monitoring import feed
from tests.integration.test_monitor_group import rounded
from tests.support import group_member, worlds
from tests.support import kafka as mock

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SECTIONS = {
    "evidence": {"promote_margin": 0.05},
    "decay": {"false_alarm_labels": 1000, "window": 300},
    "drift": {"window": 100, "calibration_windows": 50},
    "monitor": {"group": "monitors"},
}
HARMFUL = (1.0, 1.0, 0.0, 0.0)
WAIT_SECONDS = 240.0
AHEAD_SECONDS = 5.0
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def brokers() -> Iterator[mock.Cluster]:
    made = mock.Cluster()
    yield made
    made.close()


@pytest.fixture
def options(brokers: mock.Cluster) -> Options:
    prefix = f"g{next(_NUMBERS)}."
    brokers.make_topics(*envelope.all_topics(prefix), partitions=4)
    return Options(brokers.servers, prefix=prefix, deadline_seconds=20.0)


@pytest.fixture
def world(tmp_path: Path) -> worlds.World:
    made = worlds.World(tmp_path, **SECTIONS)
    champion = made.version(*worlds.FAITHFUL)
    made.rollout(champion)
    candidate = made.version(*HARMFUL)
    made.rollout(champion, candidate=candidate)
    made.serve(300, champion, mirrors=[(candidate, "candidate")], slices={"pen": "ink"})
    return made


def soon(found: Sequence[records.Event]) -> list[records.Event]:
    """The events, as if they happened one after the other in a few seconds: none is late then."""
    start = time.time() + AHEAD_SECONDS
    return [
        msgspec.structs.replace(event, time=start + 0.001 * number)
        for number, event in enumerate(found)
    ]


class Members:
    """Processes of one group."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder
        self.options = options
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        for name in names:
            command = [sys.executable, "-m", "tests.support.group_member", str(self.folder)]
            command += [",".join(self.options.servers), self.options.prefix, name]
            command += [msgspec.json.encode(SECTIONS).decode()]
            with (self.folder / f"{name}.log").open("wb") as output:
                self.running[name] = subprocess.Popen(command, stderr=output)

    def found(self) -> dict[str, group_member.Found]:
        return {
            name: msgspec.json.decode(path.read_bytes(), type=group_member.Found)
            for name in self.running
            if (path := self.folder / f"{name}.json").exists()
        }

    def await_(self, done: Callable[[dict[str, group_member.Found]], bool]) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while not done(self.found()):
            assert time.monotonic() < until, f"{self.found()}\n{self.output()}"
            assert all(each.poll() is None for each in self.running.values()), self.output()
            time.sleep(0.1)

    def shared(self, count: int) -> None:
        """Wait until so many members have all partitions, and each some."""
        self.await_(
            lambda found: (
                len(found) == count
                and all(member.owned for member in found.values())
                and sum(member.owned for member in found.values()) == 4
            )
        )

    def judge(self) -> str:
        return next(name for name, member in self.found().items() if member.judges)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def output(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log")
        )

    def stop(self) -> None:
        for name in list(self.running):
            self.kill(name)


@pytest.fixture
def members(tmp_path: Path, options: Options) -> Iterator[Members]:
    made = Members(tmp_path, options)
    yield made
    made.stop()


def single(world: worlds.World):
    monitor = world.monitor()
    world.settle(monitor)
    return rounded(group_member.said(monitor.status()))


def verdicts(found: dict[str, group_member.Found]):
    lists = [member.verdicts for member in found.values() if member.verdicts]
    return rounded(lists[0]) if lists else []


def test_a_member_that_is_killed_and_one_that_joins_late_change_no_verdict(
    world: worlds.World, options: Options, members: Members
) -> None:
    events = world.log.read("", 1_000_000).events
    expected = single(world)
    members.start("a", "b")
    members.shared(2)
    with contextlib.closing(KafkaLog(options)) as log:
        log.append(soon(events[:400]))
        members.await_(lambda found: any(member.folded > 100 for member in found.values()))
        members.kill(members.judge())
        members.start("c")
        log.append(soon(events[400:]))
    members.await_(lambda found: verdicts(found) == expected)
    assert sum(member.late for member in members.found().values()) == 0


def test_topics_of_unequal_partitions_are_refused_with_the_remedy(
    brokers: mock.Cluster, options: Options
) -> None:
    prefix = f"u{next(_NUMBERS)}."
    names = envelope.all_topics(prefix)
    brokers.make_topics(*(name for name in names if name != f"{prefix}coppice.shadow.v1"))
    brokers.make_topics(f"{prefix}coppice.shadow.v1", partitions=3)
    with pytest.raises(errors.EventLogError, match=r"coppice\.shadow\.v1 has 3.*--create"):
        GroupReader(options._replace(prefix=prefix), "monitors", feed.KINDS)
