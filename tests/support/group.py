"""A cluster in memory for groups of monitors: topics, partitions, and who has which.

Members are asked for records in an order of their seed's, so that topics and partitions arrive
interleaved in any way, each in its own order.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Collection, Sequence

from coppice import records
from coppice.eventlog import envelope
from monitoring import feed


class Cluster:
    """Topics of so many partitions, the facts' of one."""

    def __init__(self, partitions: int = 6) -> None:
        self.partitions = partitions
        self.places: dict[feed.Place, list[envelope.Letter]] = {
            (kind, number): [] for kind in feed.KINDS for number in range(partitions)
        }
        self.places[envelope.FACTS, 0] = []
        self.members: list[Member] = []

    def write(self, events: Collection[records.Event]) -> None:
        """Append events to their topics."""
        for event in events:
            key = envelope.key(event)
            self.append((event.type, zlib.crc32(key) % self.partitions), event)

    def append(self, place: feed.Place, event: records.Event) -> None:
        """Append an event to a partition."""
        held = self.places[place]
        headers = envelope.headers(event)
        time = int(1000 * event.time)
        held.append(
            envelope.Letter(*place, len(held), time, envelope.key(event), event.data, headers)
        )

    def member(self, seed: int = 0, limit: int = 100) -> Member:
        """Make a feed that is no member yet."""
        return Member(self, seed, limit)

    def share(self) -> None:
        """Take everything from everybody, and share it out anew."""
        for member in self.members:
            member.owner.revoked()
        count = len(self.members)
        for index, member in enumerate(self.members):
            numbers = range(
                index * self.partitions // count, (index + 1) * self.partitions // count
            )
            held = [(kind, number) for kind in feed.KINDS for number in numbers]
            held += [(envelope.FACTS, 0)] * (index == 0)
            member.offsets = dict(member.owner.assigned(held))

    def kill(self, member: Member) -> None:
        """Let a member vanish without a word, and the others take over."""
        self.members.remove(member)
        self.share()


class Member:
    """A feed from the cluster; see `feed.Feed`."""

    def __init__(self, cluster: Cluster, seed: int, limit: int) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self._limit = limit
        self.owner: feed.Owner
        self.offsets: dict[feed.Place, int] = {}

    def partitions(self) -> int:
        return self._cluster.partitions

    def join(self, owner: feed.Owner) -> None:
        self.owner = owner
        self._cluster.members.append(self)
        self._cluster.share()

    def poll(self, seconds: float) -> Sequence[envelope.Letter]:
        del seconds
        behind = [place for place in self.offsets if not self.at_end(place)]
        self._random.shuffle(behind)
        found: list[envelope.Letter] = []
        for place in behind[:2]:
            start = self.offsets[place]
            new = self._cluster.places[place][start : start + self._limit]
            self.offsets[place] += len(new)
            found += new
        return found

    def at_end(self, place: feed.Place) -> bool:
        return self.offsets[place] >= len(self._cluster.places[place])

    def send(self, batches: Sequence[bytes]) -> None:
        facts = self._cluster.places[envelope.FACTS, 0]
        for batch in batches:
            facts.append(envelope.Letter(envelope.FACTS, 0, len(facts), 0, None, batch, []))
