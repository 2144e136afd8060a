"""What becomes of an event behind the log: sent to Kafka, read, folded into verdicts, joined."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing import connection
from pathlib import Path

import event_encodings
from samples import Sample, timed

from coppice import records
from coppice.eventlog import base
from coppice.eventlog.kafka import KafkaLog, Options
from coppice.eventlog.sqlite import SqliteLog
from tests.support import kafka, worlds

KAFKA_BATCHES = (1, 32, 128, 512)
READ_BATCH = 2000
"""As many events as the monitor reads at once."""
PARTITIONS = 4
LABELLED, LABELS = 2000, "label join: feedback of known requests"
FOLD, READ = "monitor: a prediction decoded and folded", "read and decode, SQLite"
FROM_KAFKA = "read, Kafka (mock)"


@contextlib.contextmanager
def mock_cluster() -> Iterator[tuple[str, ...]]:
    """Start librdkafka's three mock brokers in a process of their own; gives their addresses."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    host = context.Process(target=_host, args=(theirs,))
    host.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        host.join()


def _host(pipe: connection.Connection) -> None:
    cluster = kafka.Cluster()
    cluster.make_topics(event_encodings.KIND, partitions=PARTITIONS)
    pipe.send(cluster.servers)
    pipe.recv()
    cluster.close()


def to_kafka(servers: tuple[str, ...], batch: int, seconds: float) -> Sample:
    """Append batches and wait for their acknowledgements; the brokers' work is not counted."""
    log = KafkaLog(Options(servers))
    with contextlib.closing(log):
        log.append(_events(1))
        return timed(lambda: _events(batch), log.append, seconds)


def from_kafka(servers: tuple[str, ...], count: int) -> Sample:
    """Send events, then read so many from the start; the brokers' work is not counted."""
    waits: list[float] = []
    with contextlib.closing(KafkaLog(Options(servers))) as log:
        for _ in range(0, count, READ_BATCH):
            log.append(_events(READ_BATCH))
        position, found = base.START, 0
        busy, began = time.process_time(), time.perf_counter()
        while found < count and (batch := log.read(position, READ_BATCH)).events:
            position, found = batch.position, found + len(batch.events)
            waits.append(time.perf_counter() - began - sum(waits))
        return Sample(found, sum(waits), time.process_time() - busy, tuple(waits))


def _events(count: int) -> list[records.Event]:
    now = time.time()
    return [
        records.seal(event_encodings.record(records.uuid7()), source="coppice/server", now=now)
        for _ in range(count)
    ]


def read(folder: Path, count: int) -> Sample:
    """Follow a SQLite log from its start to its end, and decode every event."""
    path = folder / "read" / "events.sqlite"
    waits: list[float] = []
    with contextlib.closing(SqliteLog(path)) as log:
        for _ in range(0, count, READ_BATCH):
            log.append(_events(READ_BATCH))
        position, found = base.START, 0
        busy, began = time.process_time(), time.perf_counter()
        while (batch := log.read(position, READ_BATCH)).events:
            position, found = batch.position, found + len(batch.events)
            for event in batch.events:
                records.unseal(event)
            waits.append(time.perf_counter() - began - sum(waits))
        sample = Sample(
            found, time.perf_counter() - began, time.process_time() - busy, tuple(waits)
        )
    for left in path.parent.iterdir():
        left.unlink()
    path.parent.rmdir()
    return sample


def monitor(folder: Path, count: int) -> dict[str, Sample]:
    """Let a monitor fold predictions of one version, then the labels of the last of them.

    Its log lies in memory, so that reading the file is not counted twice.
    """
    folder.mkdir()
    world = worlds.World(folder)
    version = world.version(*worlds.FAITHFUL)
    world.rollout(version)
    watching = world.monitor()
    # What it does once, such as finding what is usual and drawing its first page.
    world.serve(LABELLED, version)
    world.settle(watching)
    ids: list[str] = []
    for _ in range(0, count, LABELLED):
        ids = world.serve(LABELLED, version, labelled=False)
    folded = _settle(watching.turn)
    world.label(ids)
    return {FOLD: folded, LABELS: _settle(watching.turn)}


def _settle(turn: Callable[[], int]) -> Sample:
    waits: list[float] = []
    busy, began = time.process_time(), time.perf_counter()
    taken = 0
    while more := turn():
        taken += more
        waits.append(time.perf_counter() - began - sum(waits))
    return Sample(taken, sum(waits), time.process_time() - busy, tuple(waits))
