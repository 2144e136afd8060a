"""Reads the topics of a cluster as a member of a consumer group, and writes facts.

The group only says who reads which partitions. Offsets are the member's own: they are stored with
what it knows, so that both are of one moment, and Kafka is never told. The partitions of all topics
are shared out by range, so that whoever has partition 3 of one topic has it of all.

What the library calls back in a thread of its own is only noted there, and told to the owner at the
end of `poll`; until the owner has said where to read on, nothing is read. A member that is slow to
hear that it lost a partition may tell facts twice; who gathers them knows them again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import kafka
import kafka.coordinator.assignors.range
import kafka.errors
import structlog
from kafka import structs

from coppice import errors
from coppice.eventlog import envelope, kafka_reader
from coppice.eventlog import kafka as kafka_log

SESSION_SECONDS = 10.0
"""A member that is silent so long has died, and its partitions go to others."""
FETCH_BYTES = 8 * 2**20
"""Most that one broker sends at once; bounds memory."""
FETCH_SECONDS = 0.2
"""Longest that a broker waits for new records before it answers that there are none."""
BRAKE_SECONDS = 0.1
"""Pause after a group request that failed."""
STOP_SECONDS = 5.0
"""Longest wait for acknowledgements once it is time to end: whoever asked for it waits too."""
LOOK_SECONDS = 0.2
"""While acknowledgements are waited for, it is asked so often whether it is time to end."""

Place: TypeAlias = tuple[str, int]
"""A topic, without the prefix, and a partition of it."""

_log = structlog.get_logger(__name__)


class Owner(Protocol):
    """Who is told what is shared out to it."""

    def assigned(self, places: Collection[Place]) -> Mapping[Place, int]:
        """Take over places; return the offsets to read from."""
        ...

    def revoked(self) -> None:
        """Hand everything over that is held."""
        ...


class GroupReader:
    """A member of a consumer group; for one thread.

    Parameters
    ----------
    options
        How the cluster is reached.
    group
        Name of the group; the topics' prefix is put before it.
    kinds
        Topics, without the prefix, that are read together.
    stop
        Says whether it is time to end.

    Raises
    ------
    EventLogError
        The cluster does not answer by the deadline, lacks topics, or has them in unequal
        partitions.
    """

    def __init__(
        self,
        options: kafka_log.Options,
        group: str,
        kinds: Sequence[str],
        stop: Callable[[], bool],
    ) -> None:
        self._options = options
        self._stop = stop
        self._kinds = (*kinds, envelope.FACTS)
        self._owner: Owner | None = None
        self._holds = False
        self._given: set[Any] | None = None
        self._next: dict[Place, int] = {}
        self._failing_since: float | None = None
        with kafka_log.wrapped():
            self._producer = kafka_log.open_producer(options)
            self._consumer = kafka.KafkaConsumer(
                **options.connection(),
                group_id=f"{options.prefix}{group}",
                partition_assignment_strategy=[
                    kafka.coordinator.assignors.range.RangePartitionAssignor
                ],
                session_timeout_ms=int(1000 * SESSION_SECONDS),
                heartbeat_interval_ms=int(1000 * SESSION_SECONDS / 5),
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                auto_offset_reset="earliest",
                fetch_max_bytes=FETCH_BYTES,
                fetch_max_wait_ms=int(1000 * FETCH_SECONDS),
                max_poll_records=2000,
            )
        try:
            self._partitions = self._count()
        except BaseException:
            self.close()
            raise

    def partitions(self) -> int:
        """Return how many partitions each of the topics has."""
        return self._partitions

    def join(self, owner: Owner) -> None:
        """Become a member; the owner is told during `poll` what it holds."""
        self._owner = owner
        topics = [self._options.prefix + kind for kind in self._kinds]
        with kafka_log.wrapped():
            self._consumer.subscribe(topics, listener=_Listener(self._note))

    def poll(self, seconds: float) -> list[envelope.Letter]:
        """Return new records of what is held, waiting a little where there are none.

        Raises
        ------
        EventLogError
            The brokers refuse, or for longer than the deadline the group could not be asked.
        """
        with kafka_log.wrapped():
            found = self._ask(seconds)
        if self._given is not None:
            # What came meanwhile may be of partitions that are lost, or from a wrong place.
            self._hand_over()
            return []
        letters = [
            letter._replace(topic=letter.topic.removeprefix(self._options.prefix))
            for records in found.values()
            for letter in map(kafka_reader.letter_of, records)
        ]
        for letter in letters:
            self._next[letter.topic, letter.partition] = letter.offset + 1
        return letters

    def at_end(self, place: Place) -> bool:
        """Say whether all records of a place were returned, as far as the brokers have told."""
        part = structs.TopicPartition(self._options.prefix + place[0], place[1])
        if place not in self._next or part not in self._consumer.assignment():
            return False
        highwater = self._consumer.highwater(part)
        return highwater is not None and self._next[place] >= highwater

    def send(self, batches: Sequence[bytes]) -> None:
        """Write to the topic of facts, and wait until all of it is acknowledged.

        Raises
        ------
        EventLogError
            Not all was acknowledged by the deadline, or soon enough where it is time to end. Only
            a new process can be trusted to go on.
        """
        began = time.monotonic()
        topic = self._options.prefix + envelope.FACTS
        with kafka_log.wrapped():
            # One partition of it: there is one who reads it, in one order.
            futures = [self._producer.send(topic, value=each, partition=0) for each in batches]
            for future in futures:
                while not future.is_done and (left := self._patience(began)) > 0:
                    with contextlib.suppress(kafka.errors.KafkaTimeoutError):
                        future.get(timeout=min(left, LOOK_SECONDS))
                future.get(timeout=0)

    def close(self) -> None:
        """Leave the group and let go of the connections, also when the cluster is gone."""
        with contextlib.suppress(kafka.errors.KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=2000)
        with contextlib.suppress(kafka.errors.KafkaError):
            self._producer.close(timeout=2.0)

    def _patience(self, began: float) -> float:
        """Return how much longer acknowledgements are waited for, seconds."""
        longest = self._options.deadline_seconds
        if self._stop():
            longest = min(longest, STOP_SECONDS)
        return began + longest - time.monotonic()

    def _count(self) -> int:
        with kafka_log.wrapped():
            known = kafka_log.partitions_of(self._consumer, self._options)
        kafka_log.require_topics(known, self._options)
        counts = {kind: len(known[self._options.prefix + kind]) for kind in self._kinds[:-1]}
        if len(set(counts.values())) != 1:
            listed = ", ".join(f"{kind} has {count}" for kind, count in sorted(counts.items()))
            message = (
                "monitors can share their work only where these topics have equally many "
                f"partitions: {listed}; make them anew with `coppice log topics --create`"
            )
            raise errors.EventLogError(message)
        return next(iter(counts.values()))

    def _ask(self, seconds: float) -> dict[Any, list[Any]]:
        try:
            found: dict[Any, list[Any]] = self._consumer.poll(timeout_ms=int(1000 * seconds))
        except kafka.errors.InvalidRequestError as cause:
            # Some brokers refuse a member that asks for its share after the group's leader gave it
            # out; the next attempt joins anew.
            now = time.monotonic()
            self._failing_since = self._failing_since or now
            if now - self._failing_since > self._options.deadline_seconds:
                raise
            _log.info("joining_again", why=repr(cause))
            time.sleep(BRAKE_SECONDS)
            return {}
        self._failing_since = None
        self._remember_join()
        return found

    def _remember_join(self) -> None:
        """Let a join count that ends before the next `poll`.

        3.0.12 forgets such a join and asks for another: all members share out anew, each time that
        the answer comes while none of them polls, and where polls are short that is often.
        """
        coordinator: Any = vars(self._consumer)["_coordinator"]  # the version is pinned
        if coordinator._join_task is not None:  # noqa: SLF001
            coordinator._join_task = _Join(coordinator._join_task)  # noqa: SLF001

    def _note(self, parts: Collection[Any]) -> None:
        # In the library's thread: nothing but this, and nothing is read until it is seen to.
        with contextlib.suppress(KeyError, ValueError, AssertionError):
            self._consumer.pause(*parts)
        self._given = set(parts)

    def _hand_over(self) -> None:
        given, self._given = self._given or set(), None
        assert self._owner is not None, "nothing is shared out before `join`"
        if self._holds:
            self._owner.revoked()
        self._holds = bool(given)
        self._next = {}
        if not given:
            return
        prefix = self._options.prefix
        offsets = self._owner.assigned(
            {(part.topic.removeprefix(prefix), part.partition) for part in given}
        )
        try:
            with kafka_log.wrapped():
                for (kind, number), offset in offsets.items():
                    part = structs.TopicPartition(prefix + kind, number)
                    self._consumer.seek(part, offset)
                    self._consumer.resume(part)
                    self._next[kind, number] = offset
        except (ValueError, KeyError):
            # The group changed again meanwhile; what it gives next is noted by now or soon.
            _log.info("shared_out_again")


class _Join:
    """A join under way or over, which the next `poll` waits for in either case."""

    is_done = False
    """What the library asks before it forgets a join."""

    def __init__(self, future: Any) -> None:
        self.add_callback = future.add_callback
        self.add_errback = future.add_errback


class _Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]  # it has no types
    """Passes on what the library calls back."""

    def __init__(self, note: Any) -> None:
        self._note = note

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Note that nothing is held."""
        del revoked
        self._note(())

    def on_partitions_lost(self, lost: Any) -> None:
        """Note that nothing is held any more."""
        del lost
        self._note(())

    def on_partitions_assigned(self, assigned: Any) -> None:
        """Note what is held."""
        self._note(assigned)
