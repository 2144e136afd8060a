"""Brings the facts of all members into one order, each once (pure).

Every member says up to which time its partitions are told (their *watermarks*); what is older than
the lowest of them is complete, and goes out by event time, ties by request id. So the order does
not depend on how many members there are, nor on who was faster. A partition of which nothing was
heard for `patience` seconds is not waited for. What comes too late for its place goes out at once,
and is counted: late facts are folded late, never lost.

A member that takes a partition over reads some events again, and tells what was told already: a
fact is known by its request and by what it says, and told once. Recent ones are remembered; for
older ones the offsets that had been told by then do.

References
----------
T. Akidau et al., The Dataflow Model, VLDB 2015, for watermarks and late data.
"""

from __future__ import annotations

import hashlib
import heapq
import math

import msgspec

from monitoring import facts

RECENT = 20_000
"""Keys of facts kept for each partition, at least. A member saves its place more often than that,
so that whoever takes over tells no more than these again."""


class Batch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one member tells of one partition at a time."""

    model: str
    partition: int
    watermark: float
    """Everything of this partition before this time has been told, seconds since 1970 UTC."""
    sources: tuple[tuple[int, int], ...]
    """Topic and offset of the event behind each fact."""
    facts: bytes
    """See `facts.encode`."""


class Told(msgspec.Struct):
    """What is known of one partition."""

    watermark: float = -math.inf
    heard_at: float = -math.inf
    """When its last batch came, seconds since 1970 UTC by the clock of who orders."""
    through: dict[int, int] = {}
    """By topic, the offset behind the last event that was told."""
    floor: dict[int, int] = {}
    """The same when the older of the two sets of keys was begun."""
    middle: dict[int, int] = {}
    """The same when the newer one was begun."""
    older: set[int] = set()
    newer: set[int] = set()

    def is_new(self, key: int, topic: int, offset: int) -> bool:
        """Say whether a key is met for the first time, and remember it."""
        if offset < self.floor.get(topic, 0) or key in self.newer or key in self.older:
            return False
        self.newer.add(key)
        return True

    def passed(self, topic: int, offset: int) -> None:
        """Note that an event was told; forget the oldest keys now and then."""
        self.through[topic] = max(self.through.get(topic, 0), offset + 1)
        if len(self.newer) >= RECENT:
            self.older, self.newer = self.newer, set()
            self.floor, self.middle = self.middle, dict(self.through)


Queued = tuple[float, str, int, facts.Fact]
"""Time, subject, number: the order, for the facts of one subject are told by one member in turn."""


class Ordering(msgspec.Struct):
    """Put facts into their order.

    Parameters
    ----------
    partitions
        How many are waited for.
    patience
        Seconds of silence after which one is not waited for.
    since
        When it began to wait, seconds since 1970 UTC.
    """

    partitions: int
    patience: float
    since: float
    told: dict[int, Told] = {}
    queue: list[Queued] = []
    """A heap."""
    number: int = 0
    """Facts that were queued."""
    through: float = -math.inf
    """Everything before this time has gone out."""
    late: int = 0
    duplicates: int = 0

    def add(self, batch: Batch, now: float) -> list[facts.Fact]:
        """Take in what a member tells; return what of it is too late to wait.

        Raises
        ------
        UndecodableEvent
            The batch holds no facts that can be read.
        """
        found = facts.decode(batch.facts)
        told = self.told.setdefault(batch.partition, Told())
        told.heard_at = now
        late: list[facts.Fact] = []
        for (topic, offset), whole in zip(batch.sources, found, strict=True):
            fact = self._news(whole, told, topic, offset)
            told.passed(topic, offset)
            if fact is None:
                continue
            if fact.time < self.through:
                late.append(fact)
            else:
                self.number += 1
                heapq.heappush(self.queue, (fact.time, fact.subject, self.number, fact))
        told.watermark = max(told.watermark, batch.watermark)
        self.late += len(late)
        return late

    def watermark(self, now: float) -> float:
        """Return the time before which nothing is waited for."""
        awaited = [
            self.told[number].watermark if number in self.told else -math.inf
            for number in range(self.partitions)
            if now - self._heard_at(number) <= self.patience
        ]
        # With nobody to wait for, what is there is all there is.
        return min(awaited, default=max((told.watermark for told in self.told.values()), default=0))

    def ready(self, now: float, limit: int) -> list[facts.Fact]:
        """Give at most so many facts whose turn has come, in order."""
        mark = self.watermark(now)
        found: list[facts.Fact] = []
        while self.queue and len(found) < limit and self.queue[0][0] < mark:
            found.append(heapq.heappop(self.queue)[3])
        if found:
            self.through = max(self.through, found[-1].time)
        return found

    def _heard_at(self, number: int) -> float:
        told = self.told.get(number)
        return self.since if told is None else max(told.heard_at, self.since)

    def _news(self, fact: facts.Fact, told: Told, topic: int, offset: int) -> facts.Fact | None:
        """Leave out of a fact what was told before; `None` where that is all of it."""
        what = fact.what
        named = what.event.id if isinstance(what, facts.Told) else f"{fact.subject} {_tag(what)}"
        is_new = told.is_new(_key(named), topic, offset)
        scored = tuple(
            [
                each
                for each in fact.scored
                if told.is_new(_key(f"{fact.subject} s{each.version}"), topic, offset)
            ]
        )
        paired = tuple(
            [
                each
                for each in fact.paired
                if told.is_new(_key(f"{fact.subject} p{each.pair}{each.fresh}"), topic, offset)
            ]
        )
        if is_new and len(scored) == len(fact.scored) and len(paired) == len(fact.paired):
            return fact
        self.duplicates += 1
        if not (is_new or scored or paired):
            return None
        if not is_new and not isinstance(what, facts.Told):
            # A label that is no news says nothing by itself; what it completes may be news.
            what = facts.Labelled(what.version, ())
        return msgspec.structs.replace(fact, what=what, scored=scored, paired=paired)


def _tag(what: facts.Answered | facts.Mirrored | facts.Labelled) -> str:
    match what:
        case facts.Answered():
            return "a"
        case facts.Mirrored(version=version):
            return f"m{version}"
        case facts.Labelled():
            return "l"


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
