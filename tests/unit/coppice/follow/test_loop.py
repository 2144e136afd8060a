"""How the follower goes on, waits and ends, with a cluster that does as the test says.

Against brokers: tests/integration/test_follower.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from coppice import errors, records
from coppice.eventlog import base, envelope
from coppice.eventlog.sqlite import SqliteLog
from coppice.follow.loop import Cluster, Follower
from coppice.follow.recorder import Recorder
from coppice.testing import ManualClock
from tests.support import events

TOPIC = "coppice.command.v1"
DEADLINE_SECONDS = 20.0


class Brokers:
    """A cluster of one partition that can be gone, or mute."""

    def __init__(self, clock: ManualClock) -> None:
        self.there = True
        self.mute = False
        self.withheld = False
        self.refusal: errors.EventLogError | None = None
        self.letters: list[envelope.Letter] = []
        self.buried: list[bytes | None] = []
        self.connections: list[base.Consumed] = []
        self.closed = 0
        self._clock = clock
        self._next = 0

    def reachable(self) -> bool:
        return self.there

    def connect(self, consumed: base.Consumed) -> Brokers:
        if self.refusal is not None:
            raise self.refusal
        self.connections.append(dict(consumed))
        self._next = consumed.get((TOPIC, 0), 0)
        return self

    def add(self, *added: records.Event) -> None:
        for event in added:
            offset = len(self.letters)
            headers = envelope.headers(event)
            key = envelope.key(event)
            self.letters.append(envelope.Letter(TOPIC, 0, offset, 0, key, event.data, headers))

    def poll(self, seconds: float) -> Sequence[envelope.Letter]:
        self._clock.sleep(seconds)
        if self.withheld or not self.there:
            return []
        found = self.letters[self._next :]
        self._next = len(self.letters)
        return found

    def ends(self) -> base.Consumed:
        if self.mute:
            message = "no answer"
            raise errors.EventLogError(message)
        return {(TOPIC, 0): len(self.letters)}

    def bury(self, letter: envelope.Letter, reason: str) -> None:
        del reason
        if self.mute:
            message = "no answer"
            raise errors.EventLogError(message)
        self.buried.append(letter.value)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def brokers(clock: ManualClock) -> Brokers:
    return Brokers(clock)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with contextlib.closing(SqliteLog(tmp_path / "events.sqlite")) as opened:
        yield opened


@pytest.fixture
def recorder() -> Recorder:
    return Recorder("digits")


@pytest.fixture
def follower(log: SqliteLog, brokers: Brokers, clock: ManualClock, recorder: Recorder) -> Follower:
    cluster = Cluster(brokers.reachable, brokers.connect, DEADLINE_SECONDS)
    return Follower(log, cluster, recorder=recorder, clock=clock)


def turns(follower: Follower, count: int) -> None:
    left = iter(range(count))
    follower.run(lambda: next(left, None) is None)


def value(recorder: Recorder, name: str, **labels: str) -> float | None:
    return recorder.registry.get_sample_value(name, {"model": "digits", **labels})


def test_what_comes_is_stored_with_its_offsets(
    follower: Follower, brokers: Brokers, log: SqliteLog, recorder: Recorder
) -> None:
    event = events.command()
    brokers.add(event)

    turns(follower, 1)

    assert log.read(base.START).events == [event]
    assert log.consumed() == {(TOPIC, 0): 1}
    assert value(recorder, "coppice_follow_lag", topic=TOPIC) == 0.0


def test_it_begins_where_the_log_ends(
    follower: Follower, brokers: Brokers, log: SqliteLog, clock: ManualClock
) -> None:
    brokers.add(events.command())
    turns(follower, 1)

    cluster = Cluster(brokers.reachable, brokers.connect, DEADLINE_SECONDS)
    turns(Follower(log, cluster, recorder=Recorder("digits"), clock=clock), 1)

    assert brokers.connections == [{}, {(TOPIC, 0): 1}]


def test_without_brokers_it_waits_ever_longer_and_makes_no_client(
    follower: Follower, brokers: Brokers, clock: ManualClock, recorder: Recorder
) -> None:
    brokers.there = False
    began = clock.monotonic()

    turns(follower, 7)

    # 0.25 + 0.5 + 1 + 2 + 4 + 5 + 5
    assert clock.monotonic() - began == pytest.approx(17.75)
    assert brokers.connections == []
    assert value(recorder, "coppice_follow_waiting") == 1.0


def test_it_goes_on_when_the_brokers_are_there(
    follower: Follower, brokers: Brokers, log: SqliteLog, recorder: Recorder
) -> None:
    brokers.there = False
    turns(follower, 3)
    brokers.there = True
    brokers.add(events.command())

    turns(follower, 1)

    assert log.end() == "1"
    assert value(recorder, "coppice_follow_waiting") == 0.0


def test_an_outage_of_any_length_is_waited_for_by_the_same_client(
    follower: Follower, brokers: Brokers, log: SqliteLog
) -> None:
    turns(follower, 1)
    brokers.there = False
    turns(follower, 200)  # 100 s, five deadlines
    brokers.there = True
    brokers.add(events.command())
    turns(follower, 12)

    assert log.end() == "1"
    assert len(brokers.connections) == 1


def test_brokers_that_take_connections_but_never_answer_end_it(
    follower: Follower, brokers: Brokers
) -> None:
    turns(follower, 1)
    brokers.mute = True

    with pytest.raises(errors.FollowerStuck, match="none has answered for"):
        turns(follower, 100)


def test_a_client_that_cannot_be_made_ends_it_to_be_started_again(
    follower: Follower, brokers: Brokers
) -> None:
    brokers.refusal = errors.EventLogError("Authentication failed")
    brokers.refusal.__cause__ = TimeoutError()

    with pytest.raises(errors.FollowerStuck, match="Authentication failed; the follower ends"):
        turns(follower, 1)


def test_missing_topics_end_it_as_what_they_are(follower: Follower, brokers: Brokers) -> None:
    brokers.refusal = errors.EventLogError("lacks the topics a, b")

    with pytest.raises(errors.EventLogError, match="lacks the topics") as caught:
        turns(follower, 1)
    assert not isinstance(caught.value, errors.FollowerStuck)


def test_records_that_never_come_end_it(follower: Follower, brokers: Brokers) -> None:
    brokers.withheld = True
    brokers.add(events.command())

    with pytest.raises(errors.FollowerStuck, match="there are records to read"):
        turns(follower, 100)


def test_a_deadline_shorter_than_the_pause_between_two_looks_does_not_end_it(
    brokers: Brokers, log: SqliteLog, clock: ManualClock, recorder: Recorder
) -> None:
    cluster = Cluster(brokers.reachable, brokers.connect, 1.0)
    follower = Follower(log, cluster, recorder=recorder, clock=clock)
    turns(follower, 20)
    brokers.mute = True
    turns(follower, 10)  # one look without an answer
    brokers.mute = False

    turns(follower, 30)

    assert value(recorder, "coppice_follow_turn_errors_total", error="EventLogError") == 1.0


def test_a_quiet_cluster_does_not_end_it(follower: Follower, brokers: Brokers) -> None:
    turns(follower, 200)

    assert brokers.closed == 1


def test_a_record_that_is_no_event_is_put_aside_before_its_offset_moves(
    follower: Follower, brokers: Brokers, log: SqliteLog, recorder: Recorder
) -> None:
    broken, sound = events.padded(events.command(), 3), events.command()
    brokers.add(broken, sound)

    turns(follower, 1)

    assert brokers.buried == [broken.data]
    assert log.read(base.START).events == [sound]
    assert log.consumed() == {(TOPIC, 0): 2}
    assert value(recorder, "coppice_follow_dead_letters_total", topic=TOPIC) == 1.0
    assert value(recorder, "coppice_follow_undecodable_events_total") == 1.0


def test_a_dead_letter_that_is_not_acknowledged_moves_no_offset(
    follower: Follower, brokers: Brokers, log: SqliteLog
) -> None:
    brokers.mute = True
    brokers.add(events.padded(events.command(), 3), events.command())

    with pytest.raises(errors.FollowerStuck, match="no answer; the follower ends"):
        turns(follower, 1)

    assert log.consumed() == {}


def test_a_batch_that_finds_no_room_is_kept_until_there_is_some(
    brokers: Brokers, clock: ManualClock, recorder: Recorder, tmp_path: Path
) -> None:
    path = tmp_path / "small.sqlite"
    brokers.add(*(events.prediction(str(number)) for number in range(300)))
    with contextlib.closing(SqliteLog(path, max_bytes=2**16)) as log:
        cluster = Cluster(brokers.reachable, brokers.connect, DEADLINE_SECONDS)
        follower = Follower(log, cluster, recorder=recorder, clock=clock)
        turns(follower, 100)  # far longer than the deadline
        assert log.consumed() == {}

        log._writer.execute("PRAGMA max_page_count = 10000")
        turns(follower, 1)

        assert log.consumed() == {(TOPIC, 0): 300}
        assert log.end() == "300"
    assert value(recorder, "coppice_follow_turn_errors_total", error="LogFull") == 100.0


class TestOnce:
    def test_it_ends_where_the_cluster_ended_when_it_was_first_asked(
        self, follower: Follower, brokers: Brokers, log: SqliteLog
    ) -> None:
        brokers.add(*(events.command() for _ in range(3)))
        follower.catch_up(lambda: False)

        assert len(log.read(base.START).events) == 3
        assert brokers.closed == 1

    def test_an_empty_cluster_is_enough(
        self, follower: Follower, brokers: Brokers, log: SqliteLog
    ) -> None:
        follower.catch_up(lambda: False)

        assert log.read(base.START).events == []
        assert len(brokers.connections) == 1

    def test_it_waits_for_a_broker_until_it_is_asked_to_stop(
        self, follower: Follower, brokers: Brokers
    ) -> None:
        brokers.there = False
        left = iter(range(4))
        follower.catch_up(lambda: next(left, None) is None)

        assert brokers.connections == []

    def test_a_cluster_that_does_not_answer_ends_it(
        self, follower: Follower, brokers: Brokers
    ) -> None:
        brokers.mute = True
        with pytest.raises(errors.FollowerStuck, match="no answer"):
            follower.catch_up(lambda: False)
