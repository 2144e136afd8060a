"""One member and its turns; groups of several are tried in tests/integration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from coppice import errors, testing
from coppice.eventlog import envelope
from monitoring import desk, feed, group
from monitoring.recorder import Recorder
from tests.support import group as clusters
from tests.support import worlds

PARTITIONS = 2


class Stuck(clusters.Member):
    """A feed whose cluster does not answer."""

    def poll(self, seconds: float) -> Sequence[envelope.Letter]:
        message = f"no answer in {seconds} s"
        raise errors.EventLogError(message)


class Unacknowledged(clusters.Member):
    """A feed whose cluster takes no facts."""

    def send(self, batches: Sequence[bytes]) -> None:
        message = f"{len(batches)} batches were not acknowledged"
        raise errors.EventLogError(message)


@pytest.fixture
def world(tmp_path: Path) -> worlds.World:
    return worlds.World(tmp_path)


@pytest.fixture
def cluster() -> clusters.Cluster:
    return clusters.Cluster(PARTITIONS)


def member(world: worlds.World, source: feed.Feed) -> group.GroupMonitor:
    log = testing.MemoryLog()
    shown = desk.Desk(log, world.settings, world.clock, Recorder(worlds.MODEL))
    return group.GroupMonitor(source, log, world.registry, world.settings, world.clock, shown)


def files(folder: Path) -> set[str]:
    """Return the names of all files below a folder."""
    return {path.name for path in folder.rglob("*") if path.is_file()}


def turns(count: int) -> Callable[[], bool]:
    """Let a loop take so many turns before it is told to stop."""
    left = iter([False] * count)
    return lambda: next(left, True)


def test_a_turn_takes_in_what_there_is_and_the_next_one_the_facts_that_it_told(
    world: worlds.World, cluster: clusters.Cluster
) -> None:
    version = world.version(*worlds.FAITHFUL)
    world.serve(3, version, labelled=False)
    cluster.write(world.log.read("", 100).events)
    monitor = member(world, cluster.member())
    # Three predictions lie in at most two partitions, and a poll reads two of them.
    assert monitor.turn() == 3
    told = len(cluster.places[envelope.FACTS, 0])
    assert told > 0
    assert monitor.turn() == told


def test_a_member_reads_its_partitions_of_all_topics_and_one_alone_reads_the_facts(
    world: worlds.World, cluster: clusters.Cluster
) -> None:
    first, second = cluster.member(), cluster.member()
    member(world, first)
    member(world, second)
    facts = (envelope.FACTS, 0)
    assert set(first.offsets) == {(kind, 0) for kind in feed.KINDS} | {facts}
    assert set(second.offsets) == {(kind, 1) for kind in feed.KINDS}


def test_a_member_that_is_told_to_end_hands_over_and_is_not_stuck(
    world: worlds.World, cluster: clusters.Cluster
) -> None:
    monitor = member(world, cluster.member())
    before = files(world.settings.home)
    monitor.run(turns(2))
    # What the judge knew is left for the next owner.
    assert files(world.settings.home) - before == {
        "partition-0.msgpack",
        "partition-1.msgpack",
        "state.msgpack",
    }


def test_who_judges_next_goes_on_behind_all_that_was_folded(
    world: worlds.World, cluster: clusters.Cluster
) -> None:
    version = world.version(*worlds.FAITHFUL)
    world.serve(3, version, labelled=False)
    cluster.write(world.log.read("", 100).events)
    # It saves in its first turn, and folds the facts in its second.
    member(world, cluster.member()).run(turns(2))
    cluster.members.clear()
    following = cluster.member()
    member(world, following)
    told = len(cluster.places[envelope.FACTS, 0])
    assert following.offsets[envelope.FACTS, 0] == told > 0


def test_a_cluster_that_does_not_answer_ends_the_member(
    world: worlds.World, cluster: clusters.Cluster
) -> None:
    monitor = member(world, Stuck(cluster, 0, 100))
    with pytest.raises(errors.MemberStuck, match=r"no answer in 0\.2 s; the monitor ends"):
        monitor.run(turns(1))


def test_a_member_that_is_stuck_leaves_no_place_behind_what_was_not_acknowledged(
    world: worlds.World, cluster: clusters.Cluster
) -> None:
    monitor = member(world, Unacknowledged(cluster, 0, 100))
    before = files(world.settings.home)
    with pytest.raises(errors.MemberStuck, match=r"not acknowledged; the monitor ends"):
        monitor.run(turns(1))
    assert files(world.settings.home) == before
