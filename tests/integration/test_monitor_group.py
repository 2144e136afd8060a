"""Several monitors reach the verdicts of a single one, whoever tells what, and whoever dies."""

from __future__ import annotations

import msgspec
import pytest

from coppice import testing
from monitoring import group, join
from monitoring.recorder import Recorder
from tests.support import group as clusters
from tests.support import worlds

SECTIONS = {
    "evidence": {"promote_margin": 0.05},
    "decay": {"false_alarm_labels": 1000, "window": 300},
    "drift": {"window": 100, "calibration_windows": 50, "label_window": 100},
    "monitor": {"group": "monitors", "group_grace_seconds": 2.0},
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
        self.clock = testing.ManualClock(now=self.events[-1].time + 1.0)
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
                    Recorder(worlds.MODEL),
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
        self.turn(40)

    def judge(self):
        return next(m._aggregator for m in self.monitors if m._aggregator is not None)

    def found(self):
        return said(next(status for m in self.monitors if (status := m.status()) is not None))

    def state(self):
        return bare(self.judge().state)


def said(status):
    """What a verdict is: its kind, its cause, what was counted, and the evidence."""
    return [
        (verdict.kind, verdict.cause, verdict.counts, verdict.evidence, verdict.reason)
        for verdict in (status.champion_verdict, status.candidate_verdict)
        if verdict is not None
    ]


def bare(state):
    """A state without what was counted or waits elsewhere, or was said at another time."""
    return msgspec.structs.replace(state, requests=join.Join(1), events={}, announced={})


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
