"""The Kafka log, the relay into it and the follower out of it, on more than mock brokers.

`named` is the cluster in `COPPICE_TEST_KAFKA`; `tansu` a broker of its own, started here. Each is
skipped, with the reason, where it is not there.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import kafka
import pytest
from prometheus_client import CollectorRegistry

from coppice import clock, errors, records
from coppice.eventlog import base, envelope
from coppice.eventlog import brokers as addresses
from coppice.eventlog.kafka import KafkaLog
from coppice.eventlog.sqlite import SqliteLog
from service import relay, relay_recorder
from tests.integration import test_eventlog_conformance as conformance
from tests.integration import test_follower
from tests.support import brokers, events

# kafka-python leaves sockets open whose connection was replaced.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


NEED_ENDS = frozenset(
    {
        "test_a_limit_cuts_a_batch_and_nothing_is_lost",
        "test_the_end_is_the_position_behind_the_last_event",
        "test_threads_append_at_once_and_lose_nothing",
    }
)
"""Tests that need the true end of a partition."""


@pytest.fixture(scope="module", params=sorted(brokers.KINDS))
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[brokers.Broker]:
    with brokers.KINDS[request.param](tmp_path_factory.mktemp(request.param)) as found:
        yield found
    gc.collect()


@pytest.fixture
def broker(running: brokers.Broker, request: pytest.FixtureRequest) -> Iterator[brokers.Broker]:
    """The cluster, with topics that only this test uses."""
    if running.ends_at_last_batch and request.node.originalname in NEED_ENDS:
        pytest.skip("Tansu 0.6.0 takes the start of the last batch for the end of a partition")
    prefix = f"{running.options.prefix}{abs(hash(request.node.nodeid))}."
    own = running._replace(options=running.options._replace(prefix=prefix))
    with brokers.topics(own):
        yield own


@pytest.fixture
def log(broker: brokers.Broker) -> Iterator[KafkaLog]:
    with contextlib.closing(KafkaLog(broker.options)) as opened:
        yield opened


class TestReading(conformance.TestReading):
    # Kinds lie in topics of their own, requests in partitions: only the order per key is kept.
    test_events_come_in_the_order_in_which_they_were_committed = None  # type: ignore[assignment]


class TestAppending(conformance.TestAppending):
    # Unknown types lie in a topic of their own, so they come in another order.
    test_an_event_of_an_unknown_type_is_stored_and_does_not_hold_up_readers = None  # type: ignore[assignment]


class TestTopics:
    def test_topics_that_the_admin_requests_made_are_all_there(self, log: KafkaLog) -> None:
        log.check()

    def test_missing_topics_are_named(self, running: brokers.Broker) -> None:
        nowhere = running.options._replace(prefix=f"{running.options.prefix}nowhere.")
        with (
            contextlib.closing(KafkaLog(nowhere)) as log,
            pytest.raises(errors.EventLogError, match=r"lacks the topics .*coppice\.candidate"),
        ):
            log.check()


class TestRecords:
    def test_an_event_is_a_cloud_event_in_binary_mode(
        self, broker: brokers.Broker, log: KafkaLog
    ) -> None:
        event = events.prediction("request-1")
        log.append([event])

        (found,) = _records(broker, envelope.topic(event.type, broker.options.prefix))

        assert found.value == event.data
        assert found.key == b"digits/request-1"
        assert found.timestamp == 1000 * events.NOW
        assert dict(found.headers) == {
            "content-type": b"application/msgpack",
            "ce_specversion": b"1.0",
            "ce_id": event.id.encode(),
            "ce_type": b"coppice.prediction.v1",
            "ce_source": b"tests",
            # 1,700,000,000 s after 1970.
            "ce_time": b"2023-11-14T22:13:20.000Z",
            "ce_epoch": b"1700000000.0",
            "ce_subject": b"request-1",
            "ce_model": b"digits",
        }

    def test_prediction_and_feedback_of_a_request_share_a_partition(
        self, broker: brokers.Broker, log: KafkaLog
    ) -> None:
        # 12 requests over 3 partitions: that they agree by chance has odds of 3 to the minus 12.
        names = [f"request-{number}" for number in range(12)]
        log.append([events.prediction(name) for name in names])
        log.append([events.feedback(name) for name in names])

        predicted = _partitions(broker, "coppice.prediction.v1")
        assert predicted == _partitions(broker, "coppice.feedback.v1")
        assert len(set(predicted.values())) > 1

    def test_a_record_that_is_no_event_goes_to_the_dead_letters(
        self, broker: brokers.Broker, log: KafkaLog
    ) -> None:
        before, behind = events.command(), events.command()
        topic = f"{broker.options.prefix}coppice.command.v1"
        log.append([before])
        log._producer.send(topic, key=envelope.key(before), value=b"junk").get(timeout=10)
        log.append([behind])

        assert log.read(base.START).events == [before, behind]
        (dead,) = _records(broker, topic + envelope.DEAD)
        assert dead.value == b"junk"
        assert dict(dead.headers)["coppice_reason"] == b"the header ce_id is missing"


class TestRelay:
    def test_what_a_machine_wrote_arrives_whole_and_in_the_order_of_each_request(
        self, broker: brokers.Broker, tmp_path: Path
    ) -> None:
        appended = [
            each for name in "abcdefgh" for each in (events.prediction(name), events.feedback(name))
        ]
        with _relayed(broker, tmp_path, appended) as arrived:
            assert sorted(event.id for event in arrived) == sorted(e.id for e in appended)
            assert [e for e in arrived if e.subject == "c" and "feedback" in e.type] == [
                appended[5]
            ]

    def test_a_relay_that_forgot_how_far_it_was_repeats_and_readers_pass_over_it(
        self, broker: brokers.Broker, tmp_path: Path
    ) -> None:
        appended = [events.feedback("a") for _ in range(20)]
        with _relayed(broker, tmp_path, appended), _relayed(broker, tmp_path, []) as arrived:
            assert arrived == appended


class TestFollower:
    def test_two_machines_outboxes_come_together_in_a_replica_once(
        self, broker: brokers.Broker, tmp_path: Path
    ) -> None:
        here = [events.feedback(name) for name in "abcabc"]
        there = [events.feedback(name) for name in "xyzxyz"]
        with _relayed(broker, tmp_path / "here", here), _relayed(broker, tmp_path / "there", there):
            pass
        # Again, as after a crash: whatever is sent twice is stored once.
        with _relayed(broker, tmp_path / "here", []):
            pass

        with contextlib.closing(SqliteLog(tmp_path / "events.sqlite")) as replica:
            test_follower.follow(replica, broker.options, 12)
            stored = replica.read(base.START).events

        assert sorted(event.id for event in stored) == sorted(e.id for e in (*here, *there))
        assert [e for e in stored if e.subject == "a"] == [here[0], here[3]]
        assert [e for e in stored if e.subject == "z"] == [there[2], there[5]]


@contextlib.contextmanager
def _relayed(
    broker: brokers.Broker, folder: Path, appended: list[records.Event]
) -> Iterator[list[records.Event]]:
    """Relay a local log from its start, and give what can be read from the cluster then."""
    with contextlib.closing(SqliteLog(folder / "outbox.sqlite")) as outbox:
        outbox.append(appended)
        outbox.forget(relay.READER)
        cluster = relay.Cluster(
            reachable=lambda: addresses.reachable(broker.options.servers),
            connect=lambda: KafkaLog(broker.options),
            deadline_seconds=broker.options.deadline_seconds,
        )
        done = threading.Event()
        made = relay.Relay(
            {"outbox": outbox},
            cluster,
            recorder=relay_recorder.Recorder("tiny", folder, CollectorRegistry()),
            clock=clock.SystemClock(),
            stop=done.is_set,
        )
        while made.turn():
            pass
        done.set()
        made.run()
        assert outbox.readers()[relay.READER] == outbox.end()
    with contextlib.closing(KafkaLog(broker.options)) as log:
        yield log.read(base.START).events


def _partitions(broker: brokers.Broker, topic: str) -> dict[bytes, int]:
    found = _records(broker, broker.options.prefix + topic, 12)
    return {record.key: record.partition for record in found}


def _records(broker: brokers.Broker, topic: str, count: int = 1) -> list[kafka.ConsumerRecord]:
    """Read the records of a topic, as any other program would."""
    parts = [kafka.TopicPartition(topic, number) for number in range(brokers.PARTITIONS)]
    consumer = kafka.KafkaConsumer(**broker.options.connection(), enable_auto_commit=False)
    with contextlib.closing(consumer):
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        found: list[kafka.ConsumerRecord] = []
        for _ in range(50):
            found += [one for some in consumer.poll(timeout_ms=200).values() for one in some]
            if len(found) >= count:
                break
        return found
