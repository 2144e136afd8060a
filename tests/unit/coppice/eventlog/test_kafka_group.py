"""What a member makes of what the library calls back; in a group: tests/integration."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import pytest
from kafka import future, structs

from coppice.eventlog import kafka
from coppice.eventlog.kafka_group import GroupReader, Place, _Join, _Listener

PREFIX = "shop."
PART = structs.TopicPartition("shop.a", 3)


class Record(NamedTuple):
    """A record as the library returns it."""

    topic: str
    partition: int
    offset: int
    timestamp: int = 0
    key: bytes = b""
    value: bytes = b""
    headers: tuple[Any, ...] = ()


class Consumer:
    """A client of one partition, of which the group disposes as a test says."""

    def __init__(self) -> None:
        self.found: dict[Any, list[Record]] = {}
        self.assigned: set[Any] = {PART}
        self.told: list[tuple[str, Any]] = []
        self._coordinator = types.SimpleNamespace(_join_task=None)

    def poll(self, timeout_ms: int) -> dict[Any, list[Record]]:
        del timeout_ms
        return self.found

    def pause(self, *parts: Any) -> None:
        self.told += [("pause", part) for part in parts]

    def seek(self, part: Any, offset: int) -> None:
        self.told.append(("seek", (part, offset)))

    def resume(self, part: Any) -> None:
        self.told.append(("resume", part))

    def assignment(self) -> set[Any]:
        return self.assigned

    def highwater(self, part: Any) -> int | None:
        return {PART: 9}.get(part)


class Owner:
    """Whoever is told what is shared out; reads on from offset 7."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def assigned(self, places: Collection[Place]) -> Mapping[Place, int]:
        self.heard.append(set(places))
        return dict.fromkeys(places, 7)

    def revoked(self) -> None:
        self.heard.append("revoked")


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def reader(consumer: Consumer, owner: Owner) -> GroupReader:
    # A mock cluster takes seconds for each change of a group, so that the client is played here.
    made: Any = object.__new__(GroupReader)
    made._options = kafka.Options(("127.0.0.1:1",), prefix=PREFIX)
    made._consumer = consumer
    made._owner = owner
    made._holds, made._given, made._next, made._failing_since = False, None, {}, None
    found: GroupReader = made
    return found


def test_what_is_given_is_not_read_until_the_owner_said_where(
    reader: GroupReader, consumer: Consumer, owner: Owner
) -> None:
    _Listener(reader._note).on_partitions_assigned({PART})
    assert consumer.told == [("pause", PART)]
    consumer.found = {PART: [Record("shop.a", 3, 0)]}

    # Offset 0 is a wrong place: the owner wants 7.
    assert reader.poll(0.0) == []
    assert owner.heard == [{("a", 3)}]
    assert consumer.told[1:] == [("seek", (PART, 7)), ("resume", PART)]


def test_letters_bear_the_topics_name_without_the_prefix(
    reader: GroupReader, consumer: Consumer
) -> None:
    consumer.found = {PART: [Record("shop.a", 3, 7, value=b"x")]}
    (letter,) = reader.poll(0.0)
    assert (letter.topic, letter.partition, letter.offset, letter.value) == ("a", 3, 7, b"x")


def test_the_end_is_reached_with_the_last_record_that_the_brokers_know(
    reader: GroupReader, consumer: Consumer
) -> None:
    _Listener(reader._note).on_partitions_assigned({PART})
    reader.poll(0.0)
    consumer.found = {PART: [Record("shop.a", 3, 7)]}
    reader.poll(0.0)
    # 7 was read, the brokers' next is 9: 8 is missing.
    assert not reader.at_end(("a", 3))
    consumer.found = {PART: [Record("shop.a", 3, 8)]}
    reader.poll(0.0)
    assert reader.at_end(("a", 3))


def test_a_place_that_is_not_held_has_no_end(reader: GroupReader) -> None:
    assert not reader.at_end(("a", 3))


@pytest.mark.parametrize("call", ["on_partitions_revoked", "on_partitions_lost"])
def test_what_is_taken_away_is_handed_over_before_anything_else_is_read(
    reader: GroupReader, consumer: Consumer, owner: Owner, call: str
) -> None:
    listener = _Listener(reader._note)
    listener.on_partitions_assigned({PART})
    reader.poll(0.0)
    consumer.found = {PART: [Record("shop.a", 3, 7)]}
    getattr(listener, call)({PART})

    assert reader.poll(0.0) == []
    assert owner.heard == [{("a", 3)}, "revoked"]
    assert not reader.at_end(("a", 3))


def test_a_join_under_way_is_not_forgotten_once_it_is_over(
    reader: GroupReader, consumer: Consumer
) -> None:
    asked = future.Future()
    consumer._coordinator._join_task = asked
    reader.poll(0.0)
    asked.success(b"its share")
    kept = consumer._coordinator._join_task
    heard: list[bytes] = []
    kept.add_callback(heard.append)
    # What is done is what the library forgets.
    assert (asked.is_done, kept.is_done, heard) == (True, False, [b"its share"])


def test_a_join_that_failed_meanwhile_is_told_as_it_is() -> None:
    asked = future.Future()
    kept = _Join(asked)
    asked.failure(ConnectionError("gone"))
    heard: list[Exception] = []
    kept.add_errback(heard.append)
    assert [str(cause) for cause in heard] == ["gone"]


def test_where_nothing_is_joined_nothing_is_kept(reader: GroupReader, consumer: Consumer) -> None:
    reader.poll(0.0)
    assert consumer._coordinator._join_task is None
