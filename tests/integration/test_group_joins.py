"""A member of a group that is busy with something else while the group comes together.

Against librdkafka's mock cluster; skipped where confluent-kafka is not installed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping

import pytest

from coppice.eventlog import envelope
from coppice.eventlog.kafka import Options
from coppice.eventlog.kafka_group import GroupReader, Place
from monitoring import feed
from tests.support import kafka as mock
from tests.support import kube_server

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Owner:
    """Whoever is told what is shared out; reads everything from the start."""

    def __init__(self) -> None:
        self.given: list[set[Place]] = []

    def assigned(self, places: Collection[Place]) -> Mapping[Place, int]:
        self.given.append(set(places))
        return dict.fromkeys(places, 0)

    def revoked(self) -> None:
        self.given.append(set())


@pytest.fixture
def brokers() -> Iterator[mock.Cluster]:
    made = mock.Cluster(1)
    made.share_out_after(0.3)
    made.make_topics(*envelope.all_topics(""), partitions=1)
    yield made
    made.close()


@pytest.fixture
def reader(brokers: mock.Cluster) -> Iterator[GroupReader]:
    options = Options(brokers.servers, deadline_seconds=20.0)
    with contextlib.closing(GroupReader(options, "g", feed.KINDS, lambda: False)) as opened:
        yield opened


@pytest.fixture
def owner(reader: GroupReader) -> Owner:
    made = Owner()
    reader.join(made)
    return made


def poll_until(reader: GroupReader, holds: Callable[[], bool]) -> None:
    """Poll as briefly as a member does that has little to do."""
    kube_server.wait_for(lambda: not reader.poll(0.02) and holds())


def ended(brokers: mock.Cluster, reader: GroupReader) -> None:
    """Ask to join, and do something else until the answer is there."""
    brokers.count()
    poll_until(reader, lambda: brokers.requests(mock.JOIN_GROUP) == 1)
    kube_server.wait_for(lambda: brokers.requests(mock.SYNC_GROUP) == 1)
    time.sleep(0.3)


def test_a_join_that_ends_while_the_member_is_busy_is_not_asked_for_again(
    brokers: mock.Cluster, reader: GroupReader, owner: Owner
) -> None:
    ended(brokers, reader)
    poll_until(reader, lambda: bool(owner.given))
    # Every further one makes all members share out anew.
    assert brokers.requests(mock.JOIN_GROUP) == 1
    assert owner.given == [{(kind, 0) for kind in (*feed.KINDS, envelope.FACTS)}]


def test_what_was_joined_that_way_is_read(
    brokers: mock.Cluster, reader: GroupReader, owner: Owner
) -> None:
    ended(brokers, reader)
    poll_until(reader, lambda: bool(owner.given))
    reader.send([b"a fact"])
    found: list[envelope.Letter] = []
    kube_server.wait_for(lambda: bool(found.extend(reader.poll(0.02)) or found))
    assert [(letter.topic, letter.value) for letter in found] == [(envelope.FACTS, b"a fact")]
