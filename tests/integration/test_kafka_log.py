"""The log on Kafka does what every event log must do, on librdkafka's mock cluster of 3 brokers.

What differs, and why, stands at the tests that are left out. Skipped where confluent-kafka is not
installed.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import time
from collections.abc import Iterator

import msgspec
import pytest

from coppice import errors, records
from coppice.eventlog import base, envelope
from coppice.eventlog.kafka import KafkaLog, Options
from tests.integration import test_eventlog_conformance as conformance
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
    prefix = f"t{next(_NUMBERS)}."
    kinds = ("prediction.v1", "feedback.v1", "command.v1", "command.v1.dlq")
    cluster.make_topics(*(f"{prefix}coppice.{kind}" for kind in kinds))
    return Options(cluster.servers, prefix=prefix, deadline_seconds=20.0)


@pytest.fixture
def log(options: Options) -> Iterator[KafkaLog]:
    with contextlib.closing(KafkaLog(options)) as opened:
        yield opened


class TestReading(conformance.TestReading):
    # Kinds lie in topics of their own: only the order per key is kept.
    test_events_come_in_the_order_in_which_they_were_committed = None  # type: ignore[assignment]


class TestAppending(conformance.TestAppending):
    # Unknown types lie in a topic of their own, so they come in another order.
    test_an_event_of_an_unknown_type_is_stored_and_does_not_hold_up_readers = None  # type: ignore[assignment]
    # A hundred appends of one event each, 0.1 s apiece on the mock brokers.
    test_threads_append_at_once_and_lose_nothing = None  # type: ignore[assignment]


class TestKafka:
    def test_events_about_one_request_keep_their_order(self, log: KafkaLog) -> None:
        appended = [events.feedback("a") for _ in range(30)]
        log.append(appended)

        assert log.read(base.START).events == appended

    def test_a_record_that_is_no_event_goes_to_the_dead_letters(
        self, log: KafkaLog, options: Options
    ) -> None:
        before, behind = events.command(), events.command()
        topic = f"{options.prefix}coppice.command.v1"
        log.append([before])
        log._producer.send(topic, key=envelope.key(before), value=b"junk").get(timeout=10)
        log.append([behind])

        assert log.read(base.START).events == [before, behind]
        log._consumer.assign([])
        (dead,) = _records(log, topic + envelope.DEAD)
        assert dead.value == b"junk"
        assert dict(dead.headers)["coppice_reason"] == b"the header ce_id is missing"

    def test_what_a_clock_that_was_ahead_wrote_bears_no_time_that_brokers_refuse(
        self, log: KafkaLog, options: Options
    ) -> None:
        # `message.timestamp.after.max.ms`; what is refused would hold up all behind it.
        ahead = msgspec.structs.replace(events.command(), time=time.time() + 864_000.0)

        log.append([ahead])

        assert log.read(base.START).events == [ahead]
        (record,) = mock.records_of(options.servers, f"{options.prefix}{ahead.type}")
        assert record.timestamp <= 1000 * time.time()

    def test_a_failing_thread_of_the_client_is_braked_once_however_many_logs_there_are(
        self, options: Options
    ) -> None:
        KafkaLog(options).close()
        KafkaLog(options).close()

        reports = logging.getLogger("kafka.producer.sender")
        assert [type(each).__name__ for each in reports.filters] == ["Brake"]

    def test_missing_topics_are_named(self, log: KafkaLog) -> None:
        with pytest.raises(errors.EventLogError, match=r"lacks the topics .*coppice\.candidate"):
            log.check()

    @pytest.mark.parametrize(
        "code", [mock.NOT_LEADER, mock.NOT_ENOUGH_REPLICAS, mock.REQUEST_TIMED_OUT]
    )
    def test_passing_errors_of_brokers_lose_nothing_and_keep_the_order(
        self, cluster: mock.Cluster, log: KafkaLog, code: int
    ) -> None:
        appended = [events.feedback("a") for _ in range(6)]
        cluster.fail_next([code] * 3)

        for event in appended:
            log.append([event])

        assert log.read(base.START).events == appended

    def test_a_leader_that_moves_loses_nothing(
        self, cluster: mock.Cluster, log: KafkaLog, options: Options
    ) -> None:
        topic = f"{options.prefix}coppice.feedback.v1"
        appended = [events.feedback("a") for _ in range(6)]
        for number, event in enumerate(appended):
            for partition in (0, 1):
                cluster.lead(topic, partition, 1 + number % 3)
            log.append([event])

        assert log.read(base.START).events == appended


def _records(log: KafkaLog, topic: str) -> list[object]:
    import kafka

    parts = [kafka.TopicPartition(topic, number) for number in (0, 1)]
    log._consumer.assign(parts)
    log._consumer.seek_to_beginning(*parts)
    found: list[object] = []
    for _ in range(20):
        for batch in log._consumer.poll(timeout_ms=200).values():
            found += batch
        if found:
            break
    return found


def test_every_kind_of_event_has_its_topic() -> None:
    assert set(records.TYPES) <= set(envelope.topics())
