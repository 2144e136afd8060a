"""A machine whose events are relayed to a mock cluster: its logs, its relay, and what arrived."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import kafka as client
from kafka import structs

from coppice import records
from coppice.eventlog import base, envelope
from coppice.eventlog.sqlite import SqliteLog
from tests.support import events, house
from tests.support import kafka as mock

KINDS = ("prediction", "feedback", "command")
PARTITIONS = 6
DEADLINE_SECONDS = 5.0
MOST_WAITING = 2000
"""So many events wait at most: a mock partition keeps no more than 5 MiB, and drops what is old."""
PATIENCE_SECONDS = 300.0
"""Nothing here stands still for so long, unless something is wrong."""


class Machine:
    """A project's folder with its two logs, and at most one relay.

    Parameters
    ----------
    folder
        Where the project is made.
    cluster
        Where its events go; the topics are made here.
    """

    def __init__(self, folder: Path, cluster: mock.Cluster) -> None:
        self.cluster = cluster
        self.home = folder / ".coppice"
        self.ends: list[int] = []
        """Exit codes of the relays so far."""
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        cluster.make_topics(*TOPICS, partitions=PARTITIONS)
        (folder / "coppice.toml").write_text(
            f'[project]\nname = "digits"\nmodule = "model"\n[events]\nbackend = "kafka"\n[kafka]\n'
            f'servers = "{",".join(cluster.servers)}"\ndeadline_seconds = {DEADLINE_SECONDS}\n'
        )
        self.outbox = SqliteLog(self.home / "outbox.sqlite")
        self.replica = SqliteLog(self.home / "events.sqlite")

    @property
    def pid(self) -> int:
        """Process id of the relay."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start a relay as the supervisor does."""
        words = (sys.executable, "-P", "-m", "coppice_cli", "relay", "--project", str(self._folder))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.home / "relay.log").open("ab") as log:
            self._process = subprocess.Popen(
                words, cwd=house.ROOT, env=environment, stdout=log, stderr=log
            )

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Signal the relay, wait for its end, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._ended()

    def wait_for_end(self) -> int:
        """Wait until the relay ends by itself, and return its exit code."""
        return self._ended()

    def keep_running(self) -> None:
        """Start another relay where the last one ended."""
        if self._process is None or self._process.poll() is not None:
            if self._process is not None:
                self._ended()
            self.start()

    def backlog(self) -> int:
        """Return how many events of both logs are not marked as relayed."""
        logs = (self.outbox, self.replica)
        return sum(log.backlog(log.readers().get("relay", "")).events for log in logs)

    def relayed(self) -> str:
        """Return the relay's mark in the outbox."""
        return self.outbox.readers().get("relay", "")

    def log(self) -> str:
        """Return what all relays wrote."""
        return (self.home / "relay.log").read_text()

    def wait_until(self, event: str, times: int) -> None:
        """Wait until the relays' log holds an event so often."""
        until = time.monotonic() + PATIENCE_SECONDS
        while self.log().count(f'"event": "{event}"') < times:
            assert time.monotonic() < until, self.log()[-2000:]
            time.sleep(0.05)

    def drain(self) -> None:
        """Keep a relay running until nothing waits any more."""
        left = self.backlog()
        until = time.monotonic() + PATIENCE_SECONDS
        while now := self.backlog():
            if now < left:
                left, until = now, time.monotonic() + PATIENCE_SECONDS
            assert time.monotonic() < until, self.log()[-2000:]
            self.keep_running()
            time.sleep(0.05)

    def close(self) -> None:
        """End what runs and let go of the logs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self.outbox.close()
        self.replica.close()

    def _ended(self) -> int:
        assert self._process is not None
        code = self._process.wait(PATIENCE_SECONDS)
        self.ends.append(code)
        self._process = None
        return code


TOPICS = tuple(f"coppice.{kind}.v1" for kind in KINDS)


class Writer:
    """Appends ten events each 50 ms to the logs of a machine, on a thread."""

    def __init__(self, machine: Machine) -> None:
        self.acknowledged: list[records.Event] = []
        """In the order in which they were committed."""
        self._machine = machine
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _work(self) -> None:
        number = 0
        while not self._done.wait(0.05):
            if self._machine.backlog() >= MOST_WAITING:
                continue
            batch = some(number)
            self._machine.outbox.append(batch)
            self.acknowledged += batch
            number += len(batch)
            if number % 100 == 0:
                command = events.command()
                self._machine.replica.append([command])
                self.acknowledged.append(command)


def some(number: int, count: int = 10) -> list[records.Event]:
    """Return predictions of requests of their own, and labels of a few that come up again."""
    fresh = [events.prediction(f"request-{number + place}") for place in range(count - 2)]
    again = [events.feedback(f"hot-{(number // count + place) % 20}") for place in range(2)]
    return [*fresh, *again]


class Found(NamedTuple):
    """What became of acknowledged events."""

    lost: int
    repeated: int
    """Records that repeat an event, before readers deduplicate."""
    duplicates: int
    """Events that a reader has more than once."""
    disordered: int
    """Events that a reader has behind a later one about the same request."""


def compare(
    appended: Sequence[records.Event], found: Sequence[records.Event], folder: Path
) -> Found:
    """Compare acknowledged events with what another machine stores of the cluster's records."""
    reader = SqliteLog(folder / "elsewhere.sqlite")
    reader.receive(found, {})
    stored = reader.read(base.START, limit=len(found) + 1).events
    reader.close()
    place = {event.id: number for number, event in enumerate(stored)}
    ways = collections.defaultdict[tuple[str, bytes], list[int]](list)
    for event in appended:
        if event.id in place:
            ways[event.type, envelope.key(event)].append(place[event.id])
    return Found(
        lost=sum(event.id not in place or stored[place[event.id]] != event for event in appended),
        repeated=len(found) - len(stored),
        duplicates=len(stored) - len(place),
        disordered=sum(b < a for way in ways.values() for a, b in itertools.pairwise(way)),
    )


def arrived(servers: Sequence[str]) -> list[records.Event]:
    """Read every record of every topic from the cluster, in the order of each partition."""
    with contextlib.closing(
        client.KafkaConsumer(
            bootstrap_servers=list(servers),
            api_version=(2, 3),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metrics_enabled=False,
        )
    ) as consumer:
        return [envelope.event(record.headers, record.value) for record in _read(consumer, TOPICS)]


def _read(consumer: client.KafkaConsumer, topics: Sequence[str]) -> Iterator[Any]:
    parts = [structs.TopicPartition(topic, part) for topic in topics for part in range(PARTITIONS)]
    dropped = {part: at for part, at in consumer.beginning_offsets(parts).items() if at}
    assert not dropped, f"the mock brokers hold no more than 5 MiB a partition: {dropped}"
    ends = consumer.end_offsets(parts)
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    until = time.monotonic() + PATIENCE_SECONDS
    while any((consumer.position(part) or 0) < ends[part] for part in parts):
        assert time.monotonic() < until, "the cluster does not hand out what it holds"
        for batch in consumer.poll(timeout_ms=200).values():
            yield from batch


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, user and system."""
    # Behind the name, which may hold anything: fields 14 and 15 of the line.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_share(pid: int, seconds: float) -> float:
    """Return the share of a core that a process uses over some seconds."""
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - began)
