"""The event log as its users see it: an append-only sequence of events that outlives processes.

Three implementations pass one conformance suite (`tests/integration/test_eventlog_conformance.py`):
memory (tests, docs), sqlite (the default, and the server's local outbox), kafka (past one machine).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

from coppice import errors, records

Position: TypeAlias = str
"""Where a reader stands: opaque to it, comparable only for equality. `START` is before all."""

START: Position = ""

Consumed: TypeAlias = dict[tuple[str, int], int]
"""By topic and partition of Kafka, the offset of the record that is to be read next."""

_DIGITS = 18
"""What always fits the 64 bits of a sequence number; a longer position was never given out."""


class Batch(NamedTuple):
    """Events in log order, and the position behind the last one."""

    events: list[records.Event]
    position: Position


class Backlog(NamedTuple):
    """What waits behind a position: how many events, their payload bytes, the oldest one's time."""

    events: int
    bytes: int
    oldest: float | None


def decode_position(position: Position) -> int:
    """Return how many events, or which sequence number, a position lies behind.

    >>> decode_position(START), decode_position("17")
    (0, 17)

    Raises
    ------
    EventLogError
        No log gave out that position.
    """
    if position == START:
        return 0
    if not (position.isascii() and position.isdigit() and len(position) <= _DIGITS):
        message = f"{position!r} is not a position in an event log; begin again at the start"
        raise errors.EventLogError(message)
    return int(position)


class Readable(Protocol):
    """A log, as who only reads it sees it."""

    def read(self, after: Position, limit: int = 1000) -> Batch:
        """Return at most `limit` events behind a position, at once, also when there are none."""
        ...

    def end(self) -> Position:
        """Return the position behind the last committed event."""
        ...


class EventLog(Readable, Protocol):
    """Append events and read them back in the order in which they were committed."""

    def append(self, events: Sequence[records.Event]) -> None:
        """Commit events, all or none; an event whose id is stored already is passed over.

        Raises
        ------
        LogFull
            There is no room. Nothing of this call was stored.
        EventLogError
            The log cannot be written. Nothing of this call was stored.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections. A closed log cannot be used again."""
        ...


class Finder(Protocol):
    """The look-up that the server needs."""

    def find(self, subject: str, kind: type[records.Record]) -> list[records.Event]:
        """Return the events of one kind about one subject, oldest first."""
        ...


class EventIndex(Finder, Protocol):
    """Look-ups that a log with an index can answer; the local outbox has one."""

    def latest(self, model: str, kind: type[records.Record]) -> records.Event | None:
        """Return the newest event of one kind about one model."""
        ...

    def newest(self, limit: int, kind: type[records.Record] | None = None) -> list[records.Event]:
        """Return the newest events of a kind (or of any), oldest first."""
        ...


class Readership(Protocol):
    """Who has read how far; retention removes nothing that one of them has not read."""

    def mark(self, reader: str, position: Position) -> None:
        """Note durably that a reader needs nothing up to a position any more."""
        ...

    def readers(self) -> dict[str, Position]:
        """Return the position of each reader that ever left one, by name."""
        ...

    def forget(self, reader: str) -> None:
        """Forget a reader that will not come back."""
        ...


class Bounded(Protocol):
    """A log that can run out of room."""

    def room(self) -> float:
        """Return which share of its cap or of its disk is still free, 0 to 1; the smaller one."""
        ...


class IndexedLog(EventLog, EventIndex, Readership, Bounded, Protocol):
    """A log that answers look-ups too and knows its readers, as both embedded ones do."""
