"""A member of a group: what it tells, and what it leaves for the next one."""

from __future__ import annotations

import math

import msgspec
import pytest

from coppice import errors, records, testing
from coppice.eventlog import envelope
from coppice.settings import Settings
from monitoring import facts, feed, member, order
from monitoring.knowledge import Scorings
from tests.support import group, traffic
from tests.unit.monitoring.test_shard import STABLE, Known

GRACE = 2.0
NOW = 1_700_000_000.0


class Group:
    """One member over a cluster in memory of two partitions."""

    def __init__(self, folder, seen):
        self.settings = Settings(
            root=folder,
            project={"name": "tiny", "task": "binary"},
            monitor={"group": "monitors", "group_grace_seconds": GRACE},
        )
        self.cluster = group.Cluster(2)
        self.clock = testing.ManualClock(now=NOW)
        self.seen = seen
        self.member = self.start()

    def start(self):
        self.feed = self.cluster.member()
        made = member.Member(
            self.feed, self.settings, Scorings(Known()), self.clock, self.seen.append
        )
        self.feed.offsets = dict(made.own({0, 1}))
        return made

    def write(self, *found, now=NOW, partition=0):
        for record in found:
            event = records.seal(record, source="test", now=now)
            self.cluster.append((event.type, partition), event)

    def turn(self):
        """Take in all that is there, and tell what can be told; return the batches."""
        before = len(self.cluster.places[envelope.FACTS, 0])
        for _ in range(len(self.feed.offsets)):
            for letter in self.feed.poll(0.0):
                self.member.take(letter)
        self.member.turn()
        new = self.cluster.places[envelope.FACTS, 0][before:]
        return [msgspec.msgpack.decode(letter.value, type=order.Batch) for letter in new]


class Unacknowledged(group.Member):
    """A feed whose cluster takes no facts."""

    def send(self, batches):
        message = f"{len(batches)} batches were not acknowledged"
        raise errors.EventLogError(message)


@pytest.fixture
def seen():
    return []


@pytest.fixture
def alone(tmp_path, seen):
    return Group(tmp_path, seen)


def subjects(batches):
    return [fact.subject for batch in batches for fact in facts.decode(batch.facts)]


def test_it_tells_what_is_older_than_the_grace_and_up_to_when_it_has(alone):
    alone.write(traffic.prediction("r", STABLE, [1]))
    assert subjects(alone.turn()) == []
    alone.clock.advance(GRACE)
    first, second = alone.turn()
    assert subjects([first, second]) == ["r"]
    assert (first.watermark, second.watermark) == (NOW, NOW)
    # Nothing lies before it in its topic.
    assert first.sources == ((feed.KINDS.index("coppice.prediction.v1"), 0),)


def test_with_nothing_to_tell_its_watermark_is_told_once_a_second(alone):
    assert [batch.partition for batch in alone.turn()] == [0, 1]
    assert alone.turn() == []
    alone.clock.advance(member.HEARTBEAT_SECONDS)
    assert [batch.partition for batch in alone.turn()] == [0, 1]


def test_many_facts_go_in_batches_of_which_only_the_last_moves_the_watermark(alone, monkeypatch):
    monkeypatch.setattr(member, "MOST_FACTS", 2)
    alone.write(*[traffic.prediction(f"r{number}", STABLE, [1]) for number in range(5)])
    alone.clock.advance(GRACE)
    mine = [batch for batch in alone.turn() if batch.partition == 0]
    assert [len(batch.sources) for batch in mine] == [2, 2, 1]
    assert [batch.watermark for batch in mine] == [-math.inf, -math.inf, NOW]


def test_who_takes_over_goes_on_where_the_last_one_left_off(alone):
    alone.write(traffic.prediction("r", STABLE, [1]))
    alone.clock.advance(GRACE)
    alone.turn()
    alone.member.release()
    alone.member = alone.start()
    assert alone.feed.offsets["coppice.prediction.v1", 0] == 1
    alone.write(traffic.feedback("r", "yes"))
    alone.clock.advance(GRACE)
    (fact,) = [fact for batch in alone.turn() for fact in facts.decode(batch.facts)]
    assert fact.what.version == STABLE
    assert len(fact.scored) == 1


def test_a_place_is_not_saved_before_its_facts_are_acknowledged(alone):
    alone.feed.__class__ = Unacknowledged
    alone.write(traffic.prediction("r", STABLE, [1]))
    alone.clock.advance(max(GRACE, member.SAVE_SECONDS))
    with pytest.raises(errors.EventLogError, match="not acknowledged"):
        alone.turn()
    # It dies now; whoever comes next tells the fact.
    alone.member = alone.start()
    assert alone.feed.offsets["coppice.prediction.v1", 0] == 0
    assert subjects(alone.turn()) == ["r"]


def test_what_was_saved_by_other_settings_is_not_used(alone):
    alone.write(traffic.prediction("r", STABLE, [1]))
    alone.clock.advance(GRACE)
    alone.turn()
    alone.member.release()
    alone.settings = alone.settings.model_copy(
        update={"decay": alone.settings.decay.model_copy(update={"window": 77})}
    )
    alone.start()
    assert alone.feed.offsets["coppice.prediction.v1", 0] == 0


def test_another_port_or_path_of_the_next_member_keeps_what_was_saved(alone):
    alone.write(traffic.prediction("r", STABLE, [1]))
    alone.clock.advance(GRACE)
    alone.turn()
    alone.member.release()
    alone.settings = alone.settings.model_copy(
        update={"monitor": alone.settings.monitor.model_copy(update={"port": 4711})}
    )
    alone.start()
    assert alone.feed.offsets["coppice.prediction.v1", 0] == 1


def test_a_damaged_file_is_read_around(alone):
    alone.write(traffic.prediction("r", STABLE, [1]))
    alone.clock.advance(GRACE)
    alone.turn()
    alone.member.release()
    (alone.settings.home / "monitor" / "group" / "partition-0.msgpack").write_bytes(b"no")
    alone.start()
    assert alone.feed.offsets["coppice.prediction.v1", 0] == 0


def test_a_folder_that_cannot_be_written_is_said_with_the_remedy(alone):
    (alone.settings.home / "monitor").mkdir(parents=True)
    (alone.settings.home / "monitor" / "group").write_bytes(b"")
    with pytest.raises(errors.EnvironmentProblem, match=r"monitor\.group_folder"):
        alone.member.release()


def test_a_record_that_is_no_event_is_counted_and_its_offset_passed(alone):
    alone.write(traffic.prediction("r", STABLE, [1]))
    held = alone.cluster.places["coppice.prediction.v1", 0]
    held[0] = held[0]._replace(headers=[])
    alone.clock.advance(GRACE)
    assert subjects(alone.turn()) == []
    assert alone.member.counts()[0] == {"undecodable": 1}
    alone.member.release()
    alone.start()
    assert alone.feed.offsets["coppice.prediction.v1", 0] == 1


def test_a_record_of_a_partition_that_was_lost_meanwhile_is_passed_over(alone):
    alone.write(traffic.prediction("r", STABLE, [1]))
    letters = alone.feed.poll(0.0)
    alone.member.release()
    alone.member.take(letters[0])
    assert (alone.member.owned, alone.member.turn()) == (0, 0)


def test_what_a_clock_that_is_ahead_wrote_holds_nothing_up(alone):
    alone.write(traffic.prediction("ahead", STABLE, [1]), now=NOW + 3600.0)
    alone.write(traffic.prediction("r", STABLE, [1]))
    alone.turn()
    alone.clock.advance(GRACE)
    batches = alone.turn()
    assert sorted(subjects(batches)) == ["ahead", "r"]
    told = [fact for batch in batches for fact in facts.decode(batch.facts)]
    # No fact waits in its turn for a time that is not there yet.
    assert {fact.time for fact in told} == {NOW}


def test_a_clock_that_is_a_little_ahead_is_believed(alone):
    alone.write(traffic.prediction("ahead", STABLE, [1]), now=NOW + 30.0)
    alone.turn()
    alone.clock.advance(GRACE)
    assert subjects(alone.turn()) == []
    alone.clock.advance(30.0)
    assert subjects(alone.turn()) == ["ahead"]


def test_a_record_that_is_no_event_and_of_a_far_time_holds_nothing_up(alone):
    alone.write(traffic.prediction("r", STABLE, [1]), traffic.prediction("s", STABLE, [1]))
    held = alone.cluster.places["coppice.prediction.v1", 0]
    held[0] = held[0]._replace(headers=[], timestamp=9_000_000_000_000_000)
    alone.turn()
    alone.clock.advance(GRACE)
    assert subjects(alone.turn()) == ["s"]
