"""`coppice monitor` with `[monitor] group`: several processes that share their work through Kafka.

Against librdkafka's mock cluster of 3 brokers; skipped where confluent-kafka is not installed. The
group's protocol is the mock's: 3 to 9 seconds for each change of the members.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coppice import errors, records, registry, settings
from coppice.eventlog import envelope
from coppice.eventlog.kafka import KafkaLog, Options
from coppice.eventlog.kafka_group import GroupReader
from coppice.eventlog.sqlite import SqliteLog
from monitoring import feed
from tests.integration.test_monitor_group import rounded
from tests.support import kafka as mock
from tests.support import relaying, serving, worlds

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
WAIT_SECONDS = 300.0
AHEAD_SECONDS = 10.0
"""Longer than it takes to send them all and to read them, also on a busy machine."""
PARTITIONS = 4
IDLE = 0.25
"""Most of a core that a member may take which gets nowhere; one that spins takes all of it."""
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def brokers() -> Iterator[mock.Cluster]:
    made = mock.Cluster()
    yield made
    made.close()


@pytest.fixture
def options(brokers: mock.Cluster) -> Options:
    prefix = f"g{next(_NUMBERS)}."
    brokers.make_topics(*envelope.all_topics(prefix), partitions=PARTITIONS)
    return Options(brokers.servers, prefix=prefix, deadline_seconds=20.0)


@pytest.fixture
def tree(tmp_path: Path, options: Options) -> settings.Settings:
    tables = {
        "project": {"name": worlds.MODEL, "task": "binary"},
        "events": {"backend": "kafka"},
        "kafka": {
            "servers": ",".join(options.servers),
            "prefix": options.prefix,
            "deadline_seconds": 8.0,
        },
        **SECTIONS,
    }
    serving.write_settings(tmp_path, tables)
    return settings.load(tmp_path)


@pytest.fixture
def world(tmp_path: Path, tree: settings.Settings) -> worlds.World:
    made = worlds.World(tmp_path, registry.open_registry(tree), **SECTIONS)
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


class Program:
    """A command of ours: a `coppice monitor` of the group, or what fills its log from Kafka."""

    def __init__(self, tree: settings.Settings, name: str, what: str = "monitor") -> None:
        self.port = serving.free_port()
        self.output = tree.root / f"{name}.log"
        command = [sys.executable, "-m", "tests.support.group_member", what]
        with self.output.open("wb") as stream:
            self.process = subprocess.Popen(
                [*command, "--project", str(tree.root)],
                stderr=stream,
                stdout=stream,
                env={
                    **os.environ,
                    "COPPICE_MONITOR__PORT": str(self.port),
                    "OMP_NUM_THREADS": "1",
                },
            )

    def page(self, path: str) -> bytes:
        """What a page answers; nothing where it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
                answer: bytes = reply.read()
                return answer
        except (urllib.error.URLError, OSError):
            return b""

    def state(self) -> dict[str, Any]:
        """What it shows of its state, empty before it answers."""
        found = json.loads(self.page("/v1/state") or b"{}").get("state")
        return found or {}

    def total(self, name: str, label: str = "") -> float:
        """The sum of a metric's series that have a label."""
        found = re.findall(
            rf"^{name}(?:{{.*{label}.*}})? (\S+)$", self.page("/metrics").decode(), re.MULTILINE
        )
        return sum(map(float, found))


class Members:
    """Processes of one group."""

    def __init__(self, tree: settings.Settings) -> None:
        self.tree = tree
        self.running: dict[str, Program] = {}

    def start(self, *names: str) -> None:
        for name in names:
            self.running[name] = Program(self.tree, name)

    def await_(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while not done():
            assert time.monotonic() < until, self.told()
            ended = [each.process.poll() for each in self.running.values()]
            assert ended == [None] * len(ended), self.told()
            time.sleep(0.1)

    def shared(self) -> None:
        """Wait until all partitions are shared out, some to each member."""

        def done() -> bool:
            owned = [m.total("coppice_monitor_partitions") for m in self.running.values()]
            return all(owned) and sum(owned) == PARTITIONS

        self.await_(done)

    def judge(self) -> str | None:
        """Which member folds."""
        return next((name for name, m in self.running.items() if m.state().get("versions")), None)

    def found(self) -> Any:
        """What the one that judges found, as `single` does."""
        name = self.judge()
        return found_in(self.running[name].state()) if name is not None else None

    def total(self, name: str, label: str = "") -> float:
        """A metric, over all of them."""
        return sum(each.total(name, label) for each in self.running.values())

    def kill(self, name: str) -> None:
        """Let a member vanish."""
        process = self.running.pop(name).process
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self, number: int) -> set[int]:
        """Send all of them a signal, and return their exit codes."""
        for each in self.running.values():
            each.process.send_signal(number)
        return {each.process.wait(WAIT_SECONDS) for each in self.running.values()}

    def verdicts(self) -> set[bytes]:
        """What the members answer about the candidate."""
        return {each.page("/v1/verdict") for each in self.running.values()}

    def told(self) -> str:
        return "\n".join(
            f"--- {name}: {each.state()}\n{each.output.read_text()[-3000:]}"
            for name, each in self.running.items()
        )


def found_in(state: dict[str, Any]) -> Any:
    """The evidence, what was counted of each version, and the verdicts' kinds."""
    names = ("version", "role", "accuracy", "answered", "labelled", "label_coverage")
    versions = [{name: each[name] for name in names} for each in state["versions"]]
    scopes = ("champion_verdict", "candidate_verdict")
    kinds = [state[scope] and state[scope]["kind"] for scope in scopes]
    return rounded([state["evidence"], versions, kinds])


@pytest.fixture
def members(tree: settings.Settings) -> Iterator[Members]:
    made = Members(tree)
    follower = Program(tree, "follow", "follow")
    yield made
    made.end(signal.SIGKILL)
    follower.process.kill()
    follower.process.wait()


@pytest.fixture
def log(options: Options) -> Iterator[KafkaLog]:
    with contextlib.closing(KafkaLog(options)) as opened:
        yield opened


def single(world: worlds.World) -> Any:
    monitor = world.monitor()
    world.settle(monitor)
    return found_in(msgspec.to_builtins(monitor.status()))


def test_three_find_what_a_single_monitor_does_answer_alike_and_end_when_asked(
    world: worlds.World, members: Members, log: KafkaLog
) -> None:
    members.start("a", "b", "c")
    members.shared()
    log.append(soon(world.log.read("", 1_000_000).events))
    expected = single(world)
    members.await_(lambda: members.found() == expected)
    members.await_(lambda: len(members.verdicts()) == 1)
    assert json.loads(members.verdicts().pop())["verdict"] == "rollback"
    assert members.total("coppice_monitor_turn_errors_total") == 0
    assert members.end(signal.SIGTERM) == {0}


def test_when_leaders_move_the_one_that_judges_is_killed_and_another_joins_no_verdict_changes(
    world: worlds.World, brokers: mock.Cluster, options: Options, members: Members, log: KafkaLog
) -> None:
    events = world.log.read("", 1_000_000).events
    expected = single(world)
    members.start("a", "b")
    members.shared()
    log.append(soon(events[:400]))
    members.await_(lambda: members.total("coppice_monitor_facts_total", "folded") > 100)
    for number, kind in enumerate((*feed.KINDS, envelope.FACTS)):
        brokers.lead(f"{options.prefix}{kind}", 0, 1 + number % 3)
    members.kill(members.judge() or "a")
    members.start("c")
    log.append(soon(events[400:]))
    members.await_(lambda: members.found() == expected)
    assert members.total("coppice_monitor_facts_total", "late") == 0


def test_one_that_is_stuck_ends_with_9_and_the_next_answers_what_was_announced(
    world: worlds.World,
    brokers: mock.Cluster,
    members: Members,
    options: Options,
    tree: settings.Settings,
) -> None:
    members.start("a")
    members.shared()
    # No client of this process is there during the outage.
    with contextlib.closing(KafkaLog(options)) as log:
        log.append(soon(world.log.read("", 1_000_000).events))
    expected = single(world)
    members.await_(lambda: members.found() == expected)
    members.await_(lambda: b"rollback" in members.verdicts().pop())
    told = members.verdicts()
    with contextlib.closing(SqliteLog(tree.log_path)) as replica:
        # Who is candidate must have come through, too.
        members.await_(lambda: len(replica.newest(10, records.Rollout)) == 2)
    stuck = members.running.pop("a").process
    brokers.stop(1, 2, 3)
    time.sleep(1.0)  # the client finds out
    shares = [relaying.cpu_share(stuck.pid, 3.0)]
    assert stuck.wait(WAIT_SECONDS) == 9
    members.start("b")
    # No broker is there, and it answers all the same: what was announced is in its own log.
    members.await_(lambda: members.verdicts() == told)
    shares.append(relaying.cpu_share(members.running["b"].process.pid, 3.0))
    assert max(shares) <= IDLE
    brokers.start(1, 2, 3)
    members.shared()


def test_topics_of_unequal_partitions_are_refused_with_the_remedy(
    brokers: mock.Cluster, options: Options
) -> None:
    prefix = f"u{next(_NUMBERS)}."
    names = envelope.all_topics(prefix)
    brokers.make_topics(*(name for name in names if name != f"{prefix}coppice.shadow.v1"))
    brokers.make_topics(f"{prefix}coppice.shadow.v1", partitions=3)
    with pytest.raises(errors.EventLogError, match=r"coppice\.shadow\.v1 has 3.*--create"):
        GroupReader(options._replace(prefix=prefix), "monitors", feed.KINDS, lambda: False)


def test_where_it_is_time_to_end_nobody_waits_for_the_deadline(
    brokers: mock.Cluster, options: Options
) -> None:
    patient = options._replace(deadline_seconds=3600.0)
    with contextlib.closing(GroupReader(patient, "monitors", feed.KINDS, lambda: True)) as reader:
        reader.send([b"known"])
        slow_down(brokers, 60.0)
        with pytest.raises(errors.EventLogError, match="Timeout"):
            reader.send([b"too late"])
        slow_down(brokers, 0.0)


def slow_down(brokers: mock.Cluster, seconds: float) -> None:
    for number in (1, 2, 3):
        brokers.slow_down(number, seconds)
