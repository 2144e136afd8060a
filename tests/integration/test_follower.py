"""The follower brings what is in Kafka into a local log: all of it, once, whatever happens.

Against librdkafka's mock cluster of 3 brokers; skipped where confluent-kafka is not installed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import clock, records
from coppice.eventlog import base, brokers, envelope
from coppice.eventlog.kafka import KafkaLog, Options
from coppice.eventlog.kafka_reader import KafkaReader
from coppice.eventlog.sqlite import SqliteLog
from coppice.follow.loop import Cluster, Follower
from coppice.follow.recorder import Recorder
from tests.support import events
from tests.support import kafka as mock

# kafka-python leaves sockets open whose connection was replaced.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def prefixes() -> list[str]:
    """Topics of each test lie behind one of these."""
    return [f"f{number}." for number in range(10)]


@pytest.fixture(scope="module")
def cluster(prefixes: list[str]) -> Iterator[mock.Cluster]:
    made = mock.Cluster()
    # Before anybody is connected: it takes next to nothing then, and seconds later.
    for prefix in prefixes:
        made.make_topics(*envelope.all_topics(prefix), partitions=1)
    yield made
    made.close()


@pytest.fixture
def options(cluster: mock.Cluster, prefixes: list[str]) -> Options:
    return Options(cluster.servers, prefix=prefixes.pop(), deadline_seconds=20.0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with contextlib.closing(SqliteLog(tmp_path / "events.sqlite")) as opened:
        yield opened


@pytest.fixture
def kafka_log(options: Options) -> Iterator[KafkaLog]:
    with contextlib.closing(KafkaLog(options)) as opened:
        yield opened


def follower(log: SqliteLog, options: Options) -> Follower:
    return Follower(
        log,
        Cluster(
            functools.partial(brokers.reachable, options.servers),
            functools.partial(KafkaReader, options),
            options.deadline_seconds,
        ),
        recorder=Recorder("digits", options.prefix),
        clock=clock.SystemClock(),
    )


def follow(log: SqliteLog, options: Options, count: int) -> Recorder:
    """Follow until a log has so many events, then three turns more."""
    until = time.monotonic() + 30.0
    more = itertools.count()
    following = follower(log, options)

    def stop() -> bool:
        done = log.end() != base.START and int(log.end()) >= count
        return time.monotonic() > until or (done and next(more) >= 3)

    following.run(stop)
    return following._recorder


def test_every_event_comes_once_and_in_the_order_of_its_request(
    log: SqliteLog, kafka_log: KafkaLog, options: Options
) -> None:
    sent = [events.feedback(name) for name in "abcabcabc"]
    kafka_log.append([*sent, sent[0], events.command()])

    follow(log, options, 10)

    stored = log.read(base.START).events
    assert len(stored) == 10
    assert [e for e in stored if e.subject == "a"] == [e for e in sent if e.subject == "a"]
    assert log.read_local(base.START).events == []


def test_the_next_follower_goes_on_where_the_log_ends(
    log: SqliteLog, kafka_log: KafkaLog, options: Options
) -> None:
    kafka_log.append([events.command() for _ in range(3)])
    follow(log, options, 3)
    kafka_log.append([events.command()])

    recorder = follow(log, options, 4)

    assert (
        recorder.registry.get_sample_value("coppice_follow_events_total", {"model": "digits"})
        == 1.0
    )
    assert log.consumed()[f"{options.prefix}coppice.command.v1", 0] == 4


def test_what_is_no_event_is_put_aside_and_the_rest_goes_on(
    log: SqliteLog, kafka_log: KafkaLog, options: Options
) -> None:
    topic = f"{options.prefix}coppice.command.v1"
    broken = events.padded(events.command(), 3)
    newer = records.Event("id-1", "coppice.future.v9", "tests", 0.0, "s", "m", b"\xff")
    kafka_log.append([broken, newer])
    kafka_log._producer.send(topic, key=b"k", value=b"junk").get(timeout=10)
    last = events.command()
    kafka_log.append([last])

    recorder = follow(log, options, 2)

    assert {event.id for event in log.read(base.START).events} == {last.id, "id-1"}
    assert (
        recorder.registry.get_sample_value(
            "coppice_follow_dead_letters_total", {"model": "digits", "topic": "coppice.command.v1"}
        )
        == 2.0
    )
    dead = mock.records_of(options.servers, topic + envelope.DEAD)
    assert {record.value for record in dead} == {broken.data, b"junk"}
    reasons = [dict(record.headers)["coppice_reason"].decode() for record in dead]
    assert any("does not decode" in reason for reason in reasons)
    assert any("ce_id is missing" in reason for reason in reasons)


TOML = """
[project]
name = "digits"
[events]
backend = "kafka"
[kafka]
servers = "{servers}"
prefix = "{prefix}"
deadline_seconds = 20
"""


@pytest.fixture
def folder(tmp_path: Path, options: Options) -> Path:
    text = TOML.format(servers=",".join(options.servers), prefix=options.prefix)
    (tmp_path / "coppice.toml").write_text(text, encoding="utf-8")
    return tmp_path


@contextlib.contextmanager
def process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `coppice follow` as the supervisor does; killed in the end."""
    argv = [sys.executable, "-P", "-m", "coppice_cli", "follow", "--project", str(folder)]
    started = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def wait_for(log: SqliteLog, count: int, seconds: float = 300.0) -> int:
    """Wait until a log has so many events, and return how many it has."""
    until = time.monotonic() + seconds
    while int(log.end() or 0) < count and time.monotonic() < until:
        time.sleep(0.02)
    return int(log.end() or 0)


def kill_after(log: SqliteLog, folder: Path, count: int) -> int:
    """Kill a follower in the middle of its work, and return how many events it left."""
    with process(folder):
        return wait_for(log, count)


def test_a_follower_that_is_killed_at_any_moment_loses_and_doubles_nothing(
    kafka_log: KafkaLog, options: Options, folder: Path
) -> None:
    # Events of one request in each of three kinds, and one in a hundred that is none.
    sent = [
        kind(f"request-{number % 97}")
        for number in range(1000)
        for kind in (events.prediction, events.feedback)
    ]
    broken = [events.padded(events.command(), 3 + number) for number in range(20)]
    for start in range(0, len(sent), 200):
        kafka_log.append(sent[start : start + 200] + broken[start // 100 : start // 100 + 2])

    with contextlib.closing(SqliteLog(folder / ".coppice" / "events.sqlite")) as log:
        # Each goes on where the last was killed; the mock hands out some 70 at a time.
        reached = [kill_after(log, folder, wanted) for wanted in (1, 300, 700, 1100, 1500)]
        finished = kill_after(log, folder, len(sent))
        stored = log.read(base.START, 100_000).events
        integrity = log.integrity()

    assert sorted(reached) == reached
    assert finished == len(sent) == len(stored)
    assert {event.id for event in stored} == {event.id for event in sent}
    assert [e.id for e in stored if e.subject == "request-7" and "feedback" in e.type] == [
        e.id for e in sent if e.subject == "request-7" and "feedback" in e.type
    ]
    assert integrity == []
    dead = mock.records_of(options.servers, f"{options.prefix}coppice.command.v1{envelope.DEAD}")
    assert {record.value for record in dead} == {event.data for event in broken}


def send(options: Options, event: records.Event) -> None:
    """Send an event with a client of its own, which is not there during an outage."""
    with contextlib.closing(KafkaLog(options)) as log:
        log.append([event])


def test_an_outage_longer_than_the_deadline_costs_no_processor_and_no_event(
    cluster: mock.Cluster, options: Options, folder: Path
) -> None:
    text = (folder / "coppice.toml").read_text(encoding="utf-8")
    (folder / "coppice.toml").write_text(text.replace("= 20", "= 2"), encoding="utf-8")
    before, behind = events.command(), events.command()
    send(options, before)

    with (
        contextlib.closing(SqliteLog(folder / ".coppice" / "events.sqlite")) as log,
        process(folder) as running,
    ):
        wait_for(log, 1)
        cluster.stop(1, 2, 3)
        time.sleep(1.0)  # the client finds out
        used = cpu_seconds(running.pid)
        time.sleep(6.0)  # three deadlines
        used = cpu_seconds(running.pid) - used
        cluster.start(1, 2, 3)
        send(options, behind)
        wait_for(log, 2)

        assert running.poll() is None
        assert {event.id for event in log.read(base.START).events} == {before.id, behind.id}
    # Spinning would be a whole core: 6 s.
    assert used < 1.5


def test_leaders_that_move_to_a_slow_broker_and_away_cost_no_event_and_no_order(
    cluster: mock.Cluster, options: Options, kafka_log: KafkaLog, folder: Path
) -> None:
    topic = f"{options.prefix}coppice.feedback.v1"
    first, second, third = ([events.feedback("a") for _ in range(20)] for _ in range(3))
    cluster.lead(topic, 0, 1)
    kafka_log.append(first)

    with (
        contextlib.closing(SqliteLog(folder / ".coppice" / "events.sqlite")) as log,
        process(folder) as running,
    ):
        wait_for(log, 1)
        cluster.slow_down(2, 0.5)
        cluster.lead(topic, 0, 2)
        kafka_log.append(second)
        cluster.lead(topic, 0, 3)
        kafka_log.append(third)
        wait_for(log, 60)
        cluster.slow_down(2, 0.0)

        assert log.read(base.START).events == [*first, *second, *third]
        assert running.poll() is None


def test_a_leader_that_is_missing_ends_the_follower_and_the_next_goes_on(
    cluster: mock.Cluster, options: Options, folder: Path
) -> None:
    topic = f"{options.prefix}coppice.feedback.v1"
    first, second = events.feedback("a"), events.feedback("a")
    cluster.lead(topic, 0, 2)
    send(options, first)

    with contextlib.closing(SqliteLog(folder / ".coppice" / "events.sqlite")) as log:
        with process(folder) as running:
            wait_for(log, 1)
            # Down, yet leader in name.
            cluster.stop(2)
            code = running.wait(300.0)
        cluster.start(2)
        send(options, second)
        with process(folder):
            wait_for(log, 2)

        assert code == 9
        assert log.read(base.START).events == [first, second]


def test_it_ends_in_peace_when_it_is_asked_to(folder: Path, kafka_log: KafkaLog) -> None:
    kafka_log.append([events.command()])
    with (
        contextlib.closing(SqliteLog(folder / ".coppice" / "events.sqlite")) as log,
        process(folder) as running,
    ):
        wait_for(log, 1)
        running.send_signal(signal.SIGTERM)

        assert running.wait(300.0) == 0


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
