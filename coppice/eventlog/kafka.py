"""An event log on Kafka: the only place that imports kafka-python.

Order is kept per key (model and request), not over all events. Delivery is at least once: an event
whose acknowledgement was lost may be there twice, so readers know events by their ids; within one
batch repetitions are passed over here.

Whatever the library promises of timeouts, each append has a deadline of its own here: 3.0.12 can
spin for ever when a partition's leader is missing from the metadata, and then resolves nothing. A
log that missed its deadline cannot be trusted again; its owner ends the process.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import kafka
import kafka.errors
import structlog
from kafka import structs

from coppice import errors, records, settings
from coppice.eventlog import base, envelope, kafka_noise, offsets

_POLL_MS = 200
_log = structlog.get_logger(__name__)


class Options(NamedTuple):
    """How a cluster is reached.

    Attributes
    ----------
    servers
        `host:port` of the brokers asked first.
    prefix
        Before every topic's name.
    api_version
        Protocol version; always explicit, because finding it out blocks, and fails on some brokers.
    deadline_seconds
        Longest wait for all acknowledgements of an append, or for the records of a read.
    client_id
        Name under which the brokers know us.
    security
        kafka-python's settings of TLS and SASL (`security_protocol`, `ssl_cafile`, ...).
    """

    servers: tuple[str, ...]
    prefix: str = ""
    api_version: tuple[int, ...] = (2, 3)
    deadline_seconds: float = 30.0
    client_id: str = "coppice"
    security: dict[str, Any] | None = None

    def __repr__(self) -> str:
        """Leave out `security`, which holds the password."""
        return f"Options(servers={self.servers!r}, prefix={self.prefix!r})"

    @classmethod
    def of(cls, tree: settings.Settings) -> Options:
        """Take the options out of the settings."""
        table = tree.kafka
        return cls(
            servers=table.addresses,
            prefix=table.prefix,
            api_version=tuple(int(part) for part in table.api_version.split(".")),
            deadline_seconds=table.deadline_seconds,
            client_id=table.client_id,
            security=_security(tree),
        )

    def connection(self) -> dict[str, Any]:
        """Return what every client of the library is made with."""
        return {
            "bootstrap_servers": list(self.servers),
            "client_id": self.client_id,
            "api_version": self.api_version,
            "request_timeout_ms": int(1000 * min(self.deadline_seconds, 10.0)),
            "reconnect_backoff_max_ms": 1000,
            "metrics_enabled": False,
            **(self.security or {}),
        }


def _security(tree: settings.Settings) -> dict[str, Any]:
    table = tree.kafka
    sasl, tls = table.sasl_mechanism is not None, table.tls
    found: dict[str, Any] = {
        "security_protocol": ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT")
    }
    if tls:
        files = {
            "ssl_cafile": table.tls_ca_file,
            "ssl_certfile": table.tls_cert_file,
            "ssl_keyfile": table.tls_key_file,
        }
        found["ssl_check_hostname"] = table.tls_check_hostname
        found |= {name: str(tree.root / path) for name, path in files.items() if path is not None}
    if sasl:
        found["sasl_mechanism"] = table.sasl_mechanism
        found["sasl_plain_username"] = table.sasl_username
        found["sasl_plain_password"] = kafka_noise.Secret(table.sasl_password.get_secret_value())
    return found


class KafkaLog:
    """Append events to a Kafka cluster and read them back; usable from several threads.

    Never use it while answering a request: an append takes as long as the cluster does.

    Parameters
    ----------
    options
        How the cluster is reached.
    dead_letters
        Whether `read` puts a record that is no event into its topic's dead letters. Who only looks
        leaves that to the follower.

    Raises
    ------
    EventLogError
        The settings are not valid for the library.
    """

    def __init__(self, options: Options, *, dead_letters: bool = True) -> None:
        self._options = options
        self._dead_letters = dead_letters
        self._lock = threading.Lock()
        self._closed = False
        self._parts: list[structs.TopicPartition] = []
        with wrapped():
            self._producer = open_producer(options)
            self._consumer = kafka.KafkaConsumer(
                **options.connection(),
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                auto_offset_reset="earliest",
            )

    def check(self) -> None:
        """Make sure that every topic exists.

        Raises
        ------
        EventLogError
            Some do not; the message names them.
        """
        with self._lock, wrapped():
            known = partitions_of(self._consumer, self._options)
        require_topics(known, self._options)

    def append(self, events: Sequence[records.Event]) -> None:
        """Send events and wait until all are acknowledged by all in-sync replicas.

        Raises
        ------
        EventTooLarge
            One of them is larger than the client or a broker takes; others may be stored.
        EventLogError
            Not all were acknowledged by the deadline; some may be stored all the same.
        """
        self._check_open()
        until = time.monotonic() + self._options.deadline_seconds
        with wrapped():
            futures = [self._send(event) for event in events]
            for future in futures:
                future.get(timeout=max(0.0, until - time.monotonic()))

    def _send(self, event: records.Event) -> Any:
        return self._producer.send(
            envelope.topic(event.type, self._options.prefix),
            value=event.data,
            key=envelope.key(event),
            headers=envelope.headers(event),
            # Brokers may refuse what is far ahead (`message.timestamp.after.max.ms`), and all
            # behind it would wait; the header has the event's time as it is.
            timestamp_ms=int(1000 * min(max(0.0, event.time), time.time())),
        )

    def read(self, after: base.Position, limit: int = 1000) -> base.Batch:
        """Return at most `limit` events behind a position; see `base.EventLog.read`.

        A record that is no event is passed over. The position may so move though no event came.
        """
        reached = offsets.decode(after)
        self._check_open()
        with self._lock, wrapped():
            ends = self._ends()
            behind = self._seek(reached, ends)
            if not behind:
                return base.Batch([], after)
            found: dict[str, records.Event] = {}
            for record in self._poll(behind, ends, limit):
                reached.setdefault(record.topic, {})[str(record.partition)] = record.offset + 1
                event = self._event(record)
                if event is not None:
                    found.setdefault(event.id, event)
            for part in behind:
                # Behind the last record there may be offsets of none, which count as read, too.
                parts, number = reached.setdefault(part.topic, {}), str(part.partition)
                parts[number] = max(parts.get(number, 0), self._position(part))
        return base.Batch(list(found.values()), offsets.encode(reached))

    def end(self) -> base.Position:
        """Return the position behind the last record of every partition."""
        self._check_open()
        with self._lock, wrapped():
            ends = self._ends()
        reached: offsets.Offsets = {}
        for part, offset in ends.items():
            reached.setdefault(part.topic, {})[str(part.partition)] = offset
        return offsets.encode(reached)

    def close(self) -> None:
        """Let go of the connections, also when the cluster is gone."""
        if self._closed:
            return
        self._closed = True
        # A producer that spins raises out of its own close; the process must end then anyway.
        with contextlib.suppress(kafka.errors.KafkaError):
            self._producer.close(timeout=2.0)
        with contextlib.suppress(kafka.errors.KafkaError):
            self._consumer.close()

    def _ends(self) -> dict[Any, int]:
        until = time.monotonic() + self._options.deadline_seconds
        while True:
            if not self._parts:
                self._parts = self._find_parts()
            try:
                return dict(self._consumer.end_offsets(self._parts)) if self._parts else {}
            except KeyError as cause:
                # 3.0.12 forgets who leads the topics that are not assigned, at any moment, and
                # leaves such partitions out of what it then looks up: it is to learn all anew.
                self._parts = []
                if time.monotonic() > until:
                    message = f"nobody says who leads {cause}"
                    raise kafka.errors.KafkaTimeoutError(message) from cause

    def _find_parts(self) -> list[structs.TopicPartition]:
        known = partitions_of(self._consumer, self._options)
        return [
            structs.TopicPartition(topic, number)
            for topic in envelope.topics(self._options.prefix)
            for number in known.get(topic, ())
        ]

    def _seek(self, reached: offsets.Offsets, ends: dict[Any, int]) -> list[Any]:
        """Assign the partitions that have records behind the offsets, and stand there."""
        starts = {part: reached.get(part.topic, {}).get(str(part.partition), 0) for part in ends}
        behind = [part for part, end in ends.items() if starts[part] < end]
        if behind:
            self._consumer.assign(behind)
            for part in behind:
                self._consumer.seek(part, starts[part])
        return behind

    def _poll(self, behind: Sequence[Any], ends: dict[Any, int], limit: int) -> Iterator[Any]:
        until = time.monotonic() + self._options.deadline_seconds
        left = limit
        while left > 0 and any(self._position(part) < ends[part] for part in behind):
            if time.monotonic() > until:
                message = f"no records within {self._options.deadline_seconds:g} s"
                raise errors.EventLogError(message)
            for batch in self._consumer.poll(timeout_ms=_POLL_MS, max_records=left).values():
                left -= len(batch)
                yield from batch

    def _position(self, part: structs.TopicPartition) -> int:
        """Return the next offset of a partition; 0 while the brokers have yet to tell it."""
        return int(self._consumer.position(part, timeout_ms=_POLL_MS) or 0)

    def _event(self, record: Any) -> records.Event | None:
        try:
            return envelope.event(record.headers, record.value)
        except errors.UndecodableEvent as problem:
            if self._dead_letters:
                bury(self._producer, record, str(problem), self._options.deadline_seconds)
            return None

    def _check_open(self) -> None:
        if self._closed:
            message = "this Kafka log is closed; open a new one"
            raise errors.EventLogError(message)


def open_producer(options: Options) -> kafka.KafkaProducer:
    """Make a producer that waits for all in-sync replicas; it connects when it is used."""
    return kafka.KafkaProducer(
        **options.connection(),
        acks="all",
        enable_idempotence=True,
        # One at a time: a repeated request cannot overtake the one behind it.
        max_in_flight_requests_per_connection=1,
        delivery_timeout_ms=int(1000 * max(options.deadline_seconds, 10.0)) + 1000,
        max_block_ms=int(1000 * min(options.deadline_seconds, 5.0)),
        linger_ms=2,
        allow_auto_create_topics=False,
    )


def partitions_of(consumer: Any, options: Options) -> dict[str, set[int]]:
    """Ask for the partitions of every topic that there is.

    3.0.12 itself waits for the answer for ever, also where no broker lets us in.

    Raises
    ------
    KafkaTimeoutError
        Nobody answered by the deadline.
    """
    inside = vars(consumer)  # the version is pinned
    cluster, until = inside["_cluster"], time.monotonic() + options.deadline_seconds
    wanted, cluster.need_all_topic_metadata = cluster.need_all_topic_metadata, True
    try:
        # What is under way at first may have been asked for less than all.
        for _ in range(1 + cluster.metadata_refresh_in_progress):
            left = max(0, int(1000 * (until - time.monotonic())))
            inside["_net"].run(inside["_manager"].wait_for, cluster.request_update(), left)
    finally:
        cluster.need_all_topic_metadata = wanted
    return {topic: set(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()}


def require_topics(known: Collection[str], options: Options) -> None:
    """Make sure that every topic is among those known.

    Raises
    ------
    EventLogError
        Some are not; the message names them.
    """
    missing = sorted(set(envelope.all_topics(options.prefix)) - set(known))
    if missing:
        message = (
            f"{', '.join(options.servers)} lacks the topics {', '.join(missing)}; "
            "`coppice log topics --create` makes them"
        )
        raise errors.EventLogError(message)


def bury(producer: kafka.KafkaProducer, record: Any, reason: str, timeout_seconds: float) -> None:
    """Put a record of a consumer into its topic's dead letters, and wait until it is there."""
    _log.warning("dead_letter", topic=record.topic, offset=record.offset, why=reason)
    producer.send(
        record.topic + envelope.DEAD,
        value=record.value,
        key=record.key,
        headers=[*record.headers, ("coppice_reason", reason.encode())],
    ).get(timeout=timeout_seconds)


@contextlib.contextmanager
def wrapped() -> Iterator[None]:
    """Raise the library's errors as ours, with the reason that it told its log alone."""
    began = time.monotonic()
    try:
        yield
    except (kafka.errors.MessageSizeTooLargeError, kafka.errors.RecordListTooLargeError) as cause:
        raise errors.EventTooLarge from cause
    except (kafka.errors.KafkaError, AssertionError) as cause:
        reason = kafka_noise.EAR.since(began)
        told = f" ({reason})" if reason else ""
        message = (
            f"Kafka cannot be used: {cause!r}{told}; check `servers`, TLS, SASL and the brokers"
        )
        raise errors.EventLogError(message) from cause
