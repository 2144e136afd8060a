"""Several monitors reach the verdicts of a single one, whoever tells what, and whoever dies."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from coppice import records, testing
from monitoring import desk, group, http, join
from monitoring.recorder import Recorder
from tests.support import group as clusters
from tests.support import worlds

SECTIONS = {
    "evidence": {"promote_margin": 0.05},
    "decay": {"false_alarm_labels": 1000, "window": 300},
    "drift": {"window": 100, "calibration_windows": 50, "label_window": 100},
    "monitor": {"group": "monitors", "group_grace_seconds": 2.0, "group_patience_seconds": 30.0},
}
HARMLESS, HARMFUL = (1.0, 1.0, 1.0, 1.02), (1.0, 1.0, 0.0, 0.0)
STEP = 0.01
"""Seconds between two events."""


def timed(found):
    """The events in the order of the log, each a little later than the one before."""
    return [
        msgspec.structs.replace(event, time=1_000_000.0 + STEP * number)
        for number, event in enumerate(found)
    ]


class Group:
    """Monitors over a cluster in memory, and a clock that all of them share."""

    def __init__(self, world: worlds.World, partitions: int = 6) -> None:
        self.world = world
        self.cluster = clusters.Cluster(partitions)
        self.events = timed(world.log.read("", 1_000_000).events)
        self.clock = testing.ManualClock(now=self.events[0].time)
        self.log = testing.MemoryLog()
        self.log.append(self.events)
        self.monitors: list[group.GroupMonitor] = []

    def start(self, count: int = 1, seed: int = 0) -> None:
        for number in range(count):
            self.monitors.append(
                group.GroupMonitor(
                    self.cluster.member(seed + number),
                    self.log,
                    self.world.registry,
                    self.world.settings,
                    self.clock,
                    desk.Desk(self.log, self.world.settings, self.clock, Recorder(worlds.MODEL)),
                )
            )

    def turn(self, count: int) -> None:
        for _ in range(count):
            for monitor in self.monitors:
                monitor.turn()
            self.clock.advance(0.3)

    def kill(self, number: int) -> None:
        del self.monitors[number]
        self.cluster.kill(self.cluster.members[number])

    def settle(self) -> None:
        self.turn(60)

    def suffer(self, seed):
        """Read all events while members die and join at random, and relays repeat themselves."""
        draw = random.Random(seed)
        seeds = itertools.count(100)
        for start in range(0, len(self.events), 60):
            batch = self.events[start : start + 60]
            self.cluster.write(batch + batch * draw.randint(0, 1))
            for monitor in self.monitors * draw.randint(0, 3):
                monitor.turn()
            self.clock.advance(batch[-1].time - self.clock.now())
            if draw.random() < 0.5 and len(self.monitors) > 1:
                self.kill(draw.randrange(len(self.monitors)))
            if draw.random() < 0.5 and len(self.monitors) < 4:
                self.start(1, seed=next(seeds))

    def judge(self):
        return next(m._aggregator for m in self.monitors if m._aggregator is not None)

    def found(self):
        return said(next(m for m in self.monitors if m._aggregator is not None)._said.status())

    def answers(self):
        """What each member's page says about the candidate, in bytes."""
        model = worlds.MODEL
        return [
            msgspec.json.encode(http.candidate_verdict(each._desk.status(), model, model))
            for each in self.monitors
        ]

    def state(self):
        return bare(self.judge().state)


def rounded(value):
    """Numbers to nine places: sums are taken in steps that depend on when it was judged."""
    match value:
        case float():
            return round(value, 9)
        case dict():
            return {key: rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [rounded(each) for each in value]
        case _:
            return value


def said(status):
    """What a verdict is: its kind, its cause, what was counted, and the evidence."""
    verdicts = (status.champion_verdict, status.candidate_verdict)
    return rounded([(v.kind, v.cause, v.counts, v.evidence, v.reason) for v in verdicts if v])


def bare(state):
    """A state without what was counted or waits elsewhere, or was said at another time."""
    known = msgspec.structs.replace(state, requests=join.Join(1), events={}, announced={})
    return rounded(msgspec.to_builtins(known))


@pytest.fixture
def world(tmp_path):
    return worlds.World(tmp_path, **SECTIONS)


@pytest.fixture
def champion(world):
    found = world.version(*worlds.FAITHFUL)
    world.rollout(found)
    return found


@pytest.fixture(params=[HARMLESS, HARMFUL], ids=["harmless", "harmful"])
def tried(world, champion, request):
    candidate = world.version(*request.param)
    world.rollout(champion, candidate=candidate)
    world.serve(400, champion, mirrors=[(candidate, "candidate")], slices={"pen": "ink"})
    return world


def single(world):
    """What a single monitor finds in the same events."""
    events = timed(world.log.read("", 1_000_000).events)
    world.log = testing.MemoryLog()
    world.log.append(events)
    monitor = world.monitor()
    world.settle(monitor)
    return said(monitor.status()), bare(monitor._state)


@pytest.mark.parametrize("members", [1, 2, 3])
def test_however_many_monitors_share_the_work_they_find_what_a_single_one_finds(tried, members):
    together = Group(tried)
    together.start(members)
    together.cluster.write(together.events)
    together.settle()
    verdicts, state = single(tried)
    assert together.found() == verdicts
    assert together.state() == state


def test_every_member_answers_alike_whether_it_judges_or_not(tried):
    together = Group(tried)
    together.start(3)
    together.cluster.write(together.events)
    together.settle()
    judged, *others = together.answers()
    assert others == [judged, judged]
    assert msgspec.json.decode(judged)["verdict"] == together.found()[1][0] != "undecided"


def test_while_nobody_judges_the_others_answer_what_the_last_one_said(together):
    together.cluster.write(together.events)
    together.settle()
    before = together.answers()[1]
    together.kill(0)
    together.turn(1)
    assert together.answers() == [before, before]
    assert msgspec.json.decode(before)["verdict"] == "rollback"


@pytest.fixture
def together(world, champion):
    """Three monitors that have told and folded the first half of a trial's events."""
    candidate = world.version(*HARMFUL)
    world.rollout(champion, candidate=candidate)
    world.serve(300, champion, mirrors=[(candidate, "candidate")], slices={"pen": "ink"})
    made = Group(world)
    made.start(3, seed=3)
    return made


def halves(together):
    """Let the members read the first half, and write the second where they have not looked yet."""
    together.cluster.write(together.events[:500])
    together.turn(20)
    together.cluster.write(together.events[500:])
    together.turn(1)


def nothing_is_late(together):
    return together.judge().ordering.late == 0


@pytest.mark.parametrize("victim", [0, 1], ids=["the one that judges", "another"])
def test_when_a_member_is_killed_the_others_take_over_and_find_the_same(together, victim):
    halves(together)
    together.kill(victim)
    together.settle()
    verdicts, state = single(together.world)
    assert (together.found(), together.state()) == (verdicts, state)
    assert nothing_is_late(together)


def test_without_what_the_dead_member_saved_its_partitions_are_read_again(together, tmp_path):
    halves(together)
    (saved,) = tmp_path.rglob("partition-5.msgpack")
    saved.unlink()
    together.kill(2)
    together.settle()
    assert together.found() == single(together.world)[0]
    assert together.judge().ordering.duplicates > 0


def test_without_the_saved_state_the_next_one_folds_every_fact_again(together, tmp_path):
    halves(together)
    together.judge().save()
    (saved,) = tmp_path.rglob("group/state.msgpack")
    saved.unlink()
    together.kill(0)
    together.settle()
    assert together.found() == single(together.world)[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_members_that_die_and_join_at_random_over_repeated_records_change_nothing(together, seed):
    together.suffer(seed)
    together.settle()
    verdicts, state = single(together.world)
    assert (together.found(), together.state()) == (verdicts, state)
    assert nothing_is_late(together)
    assert together.judge().ordering.duplicates > 0


def test_members_that_join_late_change_nothing(together):
    together.monitors = together.monitors[:1]
    together.cluster.members = together.cluster.members[:1]
    together.cluster.share()
    halves(together)
    together.start(2, seed=9)
    together.settle()
    verdicts, state = single(together.world)
    assert (together.found(), together.state()) == (verdicts, state)


def test_who_takes_over_says_nothing_before_it_has_folded_what_was_told(together):
    halves(together)
    said_before = len(together.log.newest(100, records.Verdict))
    together.kill(0)
    together.turn(1)
    assert together.judge().folded == 0
    assert len(together.log.newest(100, records.Verdict)) == said_before


def test_a_partition_that_nobody_has_is_not_waited_for_for_ever(together):
    together.cluster.write(together.events)
    del together.cluster.members[2], together.monitors[2]
    together.turn(20)
    assert together.judge().folded == 0
    together.clock.advance(SECTIONS["monitor"]["group_patience_seconds"])
    together.turn(20)
    assert together.judge().folded > 0


def test_what_comes_too_late_is_folded_all_the_same(together):
    together.cluster.write(together.events[:-80] + together.events[-40:])
    together.turn(60)
    labelled = together.judge().state.reign.labelled
    together.cluster.write(together.events[-80:-40])
    together.settle()
    # The last 80 events are labels of requests of one row, and the first half of them came late.
    assert together.judge().state.reign.labelled == labelled + 40
    assert together.judge().ordering.late == 40
