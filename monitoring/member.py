"""A member of a group: reads, reduces and joins the events of its partitions, and tells facts.

What it knows of a partition it saves now and then, with the offsets behind the last events that
are in it, in one file that is replaced atomically. Whoever gets the partition next goes on from
there; facts that were told since are told again, and `monitoring.order` passes them over. Without
the file (another machine, no shared folder) the partition is read from its oldest record.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from coppice import clock as clocks
from coppice import errors, files, records
from coppice import settings as settings_tree
from coppice.eventlog import envelope
from monitoring import checkpoint, facts, feed, join, merge, order, shard
from monitoring.knowledge import Scorings

SCHEMA = 1
"""Grows whenever `Snapshot` changes its shape or its meaning."""
HEARTBEAT_SECONDS = 1.0
"""While a partition has nothing to tell, its watermark is told so often."""
SAVE_EVENTS = 5000
"""After so many events a partition's place is saved; each makes at most three keys of
`order.RECENT`, or four where the dense parent answered too."""
SAVE_SECONDS = 15.0
AHEAD_SECONDS = 60.0
"""A clock that is further ahead than this is wrong; others differ by less."""
MOST_FACTS = 500
"""In one batch: well below what a broker takes at once."""
LEAST_JOIN = 100
"""Requests that each partition's join holds at least."""

_log = structlog.get_logger(__name__)


class Snapshot(msgspec.Struct, frozen=True):
    """A partition's join, and the offsets behind the last events that are in it."""

    schema: int
    fingerprint: str
    offsets: dict[int, int]
    """By index of `feed.KINDS`."""
    requests: join.Join
    counts: dict[str, int]


class _Part:
    """One partition."""

    def __init__(self, known: Snapshot, grace: float, saved_at: float) -> None:
        self.requests = known.requests
        self.counts = known.counts
        self.offsets = known.offsets
        self.merge = merge.Merge(len(feed.KINDS), grace)
        self.facts: list[facts.Fact] = []
        self.sources: list[tuple[int, int]] = []
        self.unsaved = 0
        self.saved_at = saved_at
        self.said_at = -math.inf


class Member:
    """Tell the facts of some partitions.

    Parameters
    ----------
    source
        Where records come from and facts go.
    settings
        The project's settings.
    scorings
        How the answers of each version are read.
    clock
        Where the time comes from.
    failed
        Is told of what an event raised; the event is passed over.
    """

    def __init__(
        self,
        source: feed.Feed,
        settings: settings_tree.Settings,
        scorings: Scorings,
        clock: clocks.Clock,
        failed: feed.Failed,
    ) -> None:
        self._feed = source
        self._settings = settings
        self._scorings = scorings
        self._clock = clock
        self._failed = failed
        self._parts: dict[int, _Part] = {}
        self._shards: dict[int, shard.Shard] = {}
        self.sent = 0
        """Facts told since this member started."""

    @property
    def owned(self) -> int:
        """How many partitions it has."""
        return len(self._parts)

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return events and oddities by kind, over the partitions that it has."""
        events: dict[str, int] = {}
        oddities: dict[str, int] = {}
        for part in self._parts.values():
            for total, found in ((events, part.counts), (oddities, part.requests.oddities)):
                for name, count in found.items():
                    total[name] = total.get(name, 0) + count
        return events, oddities

    def own(self, numbers: Collection[int]) -> Mapping[feed.Place, int]:
        """Take over partitions; return where to read on."""
        places: dict[feed.Place, int] = {}
        for number in sorted(numbers):
            part = _Part(
                self._load(number),
                self._settings.monitor.group_grace_seconds,
                self._clock.monotonic(),
            )
            self._parts[number] = part
            self._shards[number] = shard.Shard(
                part.requests, part.counts, self._settings, self._scorings
            )
            for topic, kind in enumerate(feed.KINDS):
                places[kind, number] = part.offsets.get(topic, 0)
        return places

    def release(self) -> None:
        """Save every partition, and hand them over."""
        for number, part in self._parts.items():
            self._save(number, part)
        self._parts.clear()
        self._shards.clear()

    def take(self, letter: envelope.Letter) -> None:
        """Take in a record of one of the partitions; its turn comes in `turn`."""
        part = self._parts.get(letter.partition)
        if part is None:
            return
        topic = feed.KINDS.index(letter.topic)
        try:
            event = self._timely(envelope.event(letter.headers, letter.value))
        except errors.UndecodableEvent:
            # Whoever follows the cluster puts it into the dead letters.
            part.counts["undecodable"] = part.counts.get("undecodable", 0) + 1
            time = min(letter.timestamp / 1000, self._clock.now())
            found = merge.Sourced(topic, letter.offset, None, time)
        else:
            found = merge.Sourced(topic, letter.offset, event, event.time)
        part.merge.add(found)

    def _timely(self, event: records.Event) -> records.Event:
        """Take what a clock that is ahead wrote for what happens now.

        Else all behind it would wait until its time has come.
        """
        now = self._clock.now()
        if event.time <= now + AHEAD_SECONDS:
            return event
        return msgspec.structs.replace(event, time=now)

    def turn(self) -> int:
        """Tell what can be told; return how many facts that was."""
        now = self._clock.now()
        batches: list[order.Batch] = []
        for number, part in self._parts.items():
            batches += self._tell(number, part, now)
        if batches:
            self._feed.send([msgspec.msgpack.encode(batch) for batch in batches])
        told = sum(len(batch.sources) for batch in batches)
        self.sent += told
        for number, part in self._parts.items():
            due = self._clock.monotonic() - part.saved_at >= SAVE_SECONDS
            if part.unsaved >= SAVE_EVENTS or (due and part.unsaved):
                self._save(number, part)
        return told

    def _tell(self, number: int, part: _Part, now: float) -> list[order.Batch]:
        def at_end(topic: int) -> bool:
            return self._feed.at_end((feed.KINDS[topic], number))

        found: list[facts.Fact] = []
        sources: list[tuple[int, int]] = []
        for sourced in part.merge.ready(now, at_end):
            part.offsets[sourced.topic] = sourced.offset + 1
            part.unsaved += 1
            fact = self._fact(number, sourced.event)
            if fact is not None:
                found.append(fact)
                sources.append((sourced.topic, sourced.offset))
        watermark = part.merge.watermark(now, at_end)
        beat = self._clock.monotonic() - part.said_at >= HEARTBEAT_SECONDS
        if not found and not beat:
            return []
        part.said_at = self._clock.monotonic()
        return self._batches(number, found, sources, watermark)

    def _fact(self, number: int, event: records.Event | None) -> facts.Fact | None:
        if event is None:
            return None
        try:
            return self._shards[number].take(event)
        except Exception as cause:  # noqa: BLE001 - the outermost step; the next event may do
            self._failed(cause)
            return None

    def _batches(
        self,
        number: int,
        found: Sequence[facts.Fact],
        sources: Sequence[tuple[int, int]],
        watermark: float,
    ) -> list[order.Batch]:
        """Cut what is told into batches; only the last one may move the watermark."""
        made = []
        for start in range(0, max(len(found), 1), MOST_FACTS):
            end = start + MOST_FACTS
            made.append(
                order.Batch(
                    self._settings.project.name,
                    number,
                    watermark if end >= len(found) else -math.inf,
                    tuple(sources[start:end]),
                    facts.encode(found[start:end]),
                )
            )
        return made

    def _save(self, number: int, part: _Part) -> None:
        mark = checkpoint.group_fingerprint(self._settings, self._feed.partitions())
        known = Snapshot(SCHEMA, mark, part.offsets, part.requests, part.counts)
        try:
            files.replace(self._path(number), msgspec.msgpack.encode(known))
        except OSError as cause:
            message = (
                f"the place of partition {number} cannot be saved: {cause}; make room in "
                f"{self._path(number).parent}, or name another folder as monitor.group_folder"
            )
            raise errors.EnvironmentProblem(message) from cause
        part.unsaved, part.saved_at = 0, self._clock.monotonic()

    def _load(self, number: int) -> Snapshot:
        path = self._path(number)
        mark = checkpoint.group_fingerprint(self._settings, self._feed.partitions())
        limit = max(self._settings.monitor.join_limit // self._feed.partitions(), LEAST_JOIN)
        empty = Snapshot(SCHEMA, mark, {}, join.Join(limit), {})
        try:
            found = msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
        except FileNotFoundError:
            return empty
        except (OSError, msgspec.MsgspecError) as cause:
            _log.warning("snapshot_unreadable", path=str(path), reason=str(cause))
            return empty
        return found if (found.schema, found.fingerprint) == (SCHEMA, mark) else empty

    def _path(self, number: int) -> Path:
        return checkpoint.group_folder(self._settings) / f"partition-{number}.msgpack"
