"""The follower brings what is in Kafka into a local log: all of it, once, whatever happens.

Against librdkafka's mock cluster of 3 brokers; skipped where confluent-kafka is not installed.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
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

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[mock.Cluster]:
    made = mock.Cluster()
    yield made
    made.close()
    gc.collect()


@pytest.fixture
def options(cluster: mock.Cluster) -> Options:
    prefix = f"f{next(_NUMBERS)}."
    cluster.make_topics(*envelope.all_topics(prefix), partitions=1)
    return Options(cluster.servers, prefix=prefix, deadline_seconds=20.0)


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
