"""The one of a group that judges: what it folds, when it speaks, what it leaves behind."""

from __future__ import annotations

import msgspec
import pytest

from coppice import errors, testing
from coppice.eventlog import envelope
from coppice.settings import Settings
from monitoring import aggregate, facts, order
from monitoring.knowledge import Scorings
from tests.unit.monitoring.test_shard import STABLE, Known

NOW = 1_700_000_000.0


class Conclusions:
    """Notes when it was asked to judge, and what failed; every step is due."""

    def __init__(self):
        self.judged = 0
        self.failures = []

    def is_due(self, what, _seconds):
        return what == "judge"

    def conclude(self, _state, _assume, *, idle):
        self.judged += 1
        if not idle:
            message = "judged although there was something to fold"
            raise errors.CoppiceError(message)

    def failed(self, cause):
        self.failures.append(cause)


class Judge:
    """An aggregator of two partitions, and the facts that are told to it."""

    def __init__(self, folder):
        self.settings = Settings(
            root=folder,
            project={"name": "tiny", "task": "binary"},
            monitor={"group": "monitors", "group_patience_seconds": 60.0},
        )
        self.clock = testing.ManualClock(now=NOW)
        self.said = Conclusions()
        self.told = 0
        self.one = self.start()

    def start(self):
        known = Known()
        return aggregate.Aggregator(
            self.settings, known, Scorings(known), self.said, self.clock, partitions=2
        )

    def tell(self, *subjects, partition=0, watermark=NOW + 1.0, model="tiny", time=NOW):
        found = [answered(name, time) for name in subjects]
        sources = tuple((2, self.told + place) for place in range(len(found)))
        batch = order.Batch(model, partition, watermark, sources, facts.encode(found))
        self.give(msgspec.msgpack.encode(batch))

    def give(self, value):
        self.one.take(envelope.Letter(envelope.FACTS, 0, self.told, 0, None, value, []))
        self.told += 1


def answered(subject, time):
    what = facts.Answered(STABLE, "stable", 1, False, (), None, 0.001, False, None, None)
    return facts.Fact(time, subject, what, time)


@pytest.fixture
def judge(tmp_path):
    return Judge(tmp_path)


def test_nothing_is_folded_before_every_partition_has_told_up_to_then(judge):
    judge.tell("a")
    assert judge.one.turn() == 0
    judge.tell("b", partition=1)
    assert judge.one.turn() == 2
    assert judge.one.state.events == {"coppice.prediction.v1": 2}
    assert judge.one.state.window(STABLE).answered == 2


def test_it_says_nothing_before_what_had_been_told_when_it_began_is_folded(judge):
    judge.tell(watermark=NOW - 1.0)
    judge.tell(partition=1)
    judge.one.turn()
    assert (judge.one.is_caught_up(), judge.said.judged) == (False, 0)
    judge.tell()
    judge.one.turn()
    assert (judge.one.is_caught_up(), judge.said.judged) == (True, 1)


def test_the_lag_is_how_far_the_slowest_partition_is_behind_the_clock(judge):
    judge.tell(watermark=NOW - 7.0)
    judge.tell(partition=1)
    assert judge.one.lag() == 7.0


def test_what_comes_too_late_is_folded_at_once(judge):
    judge.tell("a", time=NOW)
    judge.tell(partition=1)
    judge.one.turn()
    judge.tell("late", time=NOW - 5.0)
    assert (judge.one.folded, judge.one.ordering.late) == (2, 1)


@pytest.mark.parametrize("value", [b"", b"no", None])
def test_what_holds_no_facts_is_counted_and_its_offset_passed(judge, value):
    judge.give(value)
    assert judge.one.state.events == {"undecodable": 1}
    assert judge.one.offset == 1


def test_facts_of_another_model_are_passed_over(judge):
    judge.tell("a", model="other")
    assert (judge.one.state.events, judge.one.offset, judge.one.ordering.queue) == ({}, 1, [])


def test_a_judgement_that_raises_is_told_and_does_not_end_it(judge):
    judge.tell("a")
    judge.tell(partition=1)
    judge.one.turn()
    assert [str(cause) for cause in judge.said.failures] == [
        "judged although there was something to fold"
    ]
    judge.one.turn()
    assert judge.said.judged == 2


def test_who_judges_next_goes_on_behind_the_last_batch_and_counts_nothing_twice(judge):
    judge.tell("a")
    judge.tell(partition=1)
    judge.one.turn()
    judge.one.save()
    judge.one = judge.start()
    assert judge.one.offset == 2
    judge.told = 0
    judge.tell("a")
    assert judge.one.state.events == {"coppice.prediction.v1": 1}
    assert judge.one.ordering.duplicates == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no"),
        lambda path: path.unlink(),
    ],
    ids=["damaged", "gone"],
)
def test_without_a_state_that_can_be_read_it_begins_at_the_oldest_batch(judge, spoil):
    judge.tell("a")
    judge.one.save()
    spoil(judge.settings.home / "monitor" / "group" / "state.msgpack")
    judge.one = judge.start()
    assert judge.one.offset == 0


def test_the_state_of_other_settings_is_not_used(judge):
    judge.tell("a")
    judge.one.save()
    judge.settings = judge.settings.model_copy(
        update={"decay": judge.settings.decay.model_copy(update={"window": 77})}
    )
    assert judge.start().offset == 0


def test_a_state_that_cannot_be_written_is_said(judge):
    (judge.settings.home / "monitor").mkdir(parents=True)
    (judge.settings.home / "monitor" / "group").write_bytes(b"")
    with pytest.raises(errors.EnvironmentProblem, match="make room"):
        judge.one.save()
