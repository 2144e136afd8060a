"""Reads every topic of a cluster for as long as a process lives.

`kafka.KafkaLog.read` asks for metadata and ends at each call, which suits a command; a process that
follows the cluster keeps its connections, and asks the brokers for nothing but records.

No consumer group: who keeps offsets in a transaction of its own is assigned all partitions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import kafka
import kafka.errors
from kafka import structs

from coppice import errors
from coppice.eventlog import base, envelope
from coppice.eventlog import kafka as kafka_log

FETCH_BYTES = 8 * 2**20
"""Most that one broker sends at once; bounds memory."""
ANSWER_MS = 5000
"""Longest wait for the ends of all partitions; short, so that who waits can be told to stop."""
APART_SECONDS = 60.0
"""A topic that is so far ahead of the slowest one waits, so that labels and predictions of the same
time come at about the same time, also where much is read at once."""


class KafkaReader:
    """Reads records of all topics, from given offsets on; for one thread.

    Parameters
    ----------
    options
        How the cluster is reached.
    consumed
        The offsets to begin at; where there is none, or it is gone, the oldest record that is left.

    Raises
    ------
    EventLogError
        The cluster does not answer by the deadline, or lacks topics.
    """

    def __init__(self, options: kafka_log.Options, consumed: base.Consumed) -> None:
        self._options = options
        self._producer: kafka.KafkaProducer | None = None
        self._reached: dict[structs.TopicPartition, int] = {}
        with kafka_log.wrapped():
            self._consumer = kafka.KafkaConsumer(
                **options.connection(),
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                auto_offset_reset="earliest",
                fetch_max_bytes=FETCH_BYTES,
            )
        try:
            with kafka_log.wrapped():
                self._parts = self._assign(consumed)
        except BaseException:
            self.close()
            raise

    def _assign(self, consumed: base.Consumed) -> list[structs.TopicPartition]:
        known = kafka_log.partitions_of(self._consumer, self._options)
        kafka_log.require_topics(known, self._options)
        parts = [
            structs.TopicPartition(topic, number)
            for topic in envelope.topics(self._options.prefix)
            for number in sorted(known[topic])
        ]
        self._consumer.assign(parts)
        for part in parts:
            self._consumer.seek(part, consumed.get((part.topic, part.partition), 0))
        return parts

    def poll(self, seconds: float, limit: int = 1000) -> list[envelope.Letter]:
        """Return at most `limit` new records as soon as there are any, or none after some seconds.

        Raises
        ------
        EventLogError
            The brokers refuse.
        """
        with kafka_log.wrapped():
            found = self._consumer.poll(timeout_ms=int(1000 * seconds), max_records=limit)
            letters = [letter_of(record) for records in found.values() for record in records]
            self._reached |= {part: records[-1].timestamp for part, records in found.items()}
            self._keep_together()
        return letters

    def _keep_together(self) -> None:
        """Let partitions wait that are far ahead in time of one that has more to give."""
        behind = {part: time for part, time in self._reached.items() if self._lags(part)}
        ahead = too_far(behind, int(1000 * APART_SECONDS))
        paused = self._consumer.paused()
        self._consumer.pause(*(ahead - paused))
        self._consumer.resume(*(paused - ahead))

    def _lags(self, part: structs.TopicPartition) -> bool:
        # Without waiting: where the place is not known yet, the brokers have it to tell.
        place = self._consumer.position(part, timeout_ms=0)
        return (self._consumer.highwater(part) or 0) > (place or 0)

    def ends(self) -> base.Consumed:
        """Ask the brokers for the offset behind the last record of each partition.

        It is 0 where retention has left no record: there is nothing to wait for.

        Raises
        ------
        EventLogError
            They do not answer within `ANSWER_MS`.
        """
        with kafka_log.wrapped():
            # The stubs that pyright brings are of an older client.
            begins = self._consumer.beginning_offsets(
                self._parts,
                timeout_ms=ANSWER_MS,  # pyright: ignore[reportCallIssue]
            )
            ends = self._consumer.end_offsets(
                self._parts,
                timeout_ms=ANSWER_MS,  # pyright: ignore[reportCallIssue]
            )
        return {
            (part.topic, part.partition): end if end > begins[part] else 0
            for part, end in ends.items()
        }

    def bury(self, letter: envelope.Letter, reason: str) -> None:
        """Put a record into its topic's dead letters, and wait until it is there.

        One that leaves no room for the reason is put there without its payload.

        Raises
        ------
        EventLogError
            It was not acknowledged by the deadline.
        """
        with kafka_log.wrapped():
            if self._producer is None:
                self._producer = kafka_log.open_producer(self._options)
            seconds = self._options.deadline_seconds
            try:
                with kafka_log.wrapped():
                    kafka_log.bury(self._producer, letter, reason, seconds)
            except errors.EventTooLarge:
                reason += f"; its {len(letter.value or b'')} bytes of payload are left out"
                kafka_log.bury(self._producer, letter._replace(value=b""), reason, seconds)

    def close(self) -> None:
        """Let go of the connections, also when the cluster is gone."""
        with contextlib.suppress(kafka.errors.KafkaError):
            self._consumer.close(timeout_ms=2000)
        if self._producer is not None:
            with contextlib.suppress(kafka.errors.KafkaError):
                self._producer.close(timeout=2.0)


def too_far(reached: Mapping[Any, int], apart: int) -> set[Any]:
    """Return who is further ahead of the last one than allowed.

    >>> sorted(too_far({"a": 10, "b": 15, "c": 99}, apart=20))
    ['c']
    """
    slowest = min(reached.values(), default=0)
    return {part for part, time in reached.items() if time > slowest + apart}


def letter_of(record: Any) -> envelope.Letter:
    """Return a record of the library's as ours."""
    return envelope.Letter(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        list(record.headers),
    )
