"""An event log in memory: for tests and examples; gone when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from coppice import errors, records
from coppice.eventlog import base


class MemoryLog:
    """Keep events in a list; usable from several threads, not from several processes.

    Examples
    --------
    >>> log = MemoryLog()
    >>> event = records.seal(
    ...     records.Command(model="digits", action="pause", actor="ada"), source="docs", now=0.0)
    >>> log.append([event, event])
    >>> [found.type for found in log.read(base.START).events]
    ['coppice.command.v1']
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[records.Event] = []
        self._ids: set[str] = set()
        self._readers: dict[str, base.Position] = {}
        self._closed = False

    def append(self, events: Sequence[records.Event]) -> None:
        """Store events, passing over each whose id is stored already."""
        with self._lock:
            self._check_open()
            for event in events:
                if event.id not in self._ids:
                    self._ids.add(event.id)
                    self._events.append(event)

    def append_at_once(self, events: Sequence[records.Event]) -> bool:
        """Store events; `False` where that fails, and `append` says why."""
        try:
            self.append(events)
        except errors.EventLogError:
            return False
        return True

    def checkpoint(self) -> None:
        """Do nothing: what was stored is in its place."""

    def read(self, after: base.Position, limit: int = 1000) -> base.Batch:
        """Return at most `limit` events behind a position.

        Raises
        ------
        EventLogError
            The position is not one that this log gave out, or the log is closed.
        """
        start = base.decode_position(after)
        with self._lock:
            self._check_open()
            events = self._events[start : start + limit]
        return base.Batch(events, str(start + len(events)) if events else after)

    def end(self) -> base.Position:
        """Return the position behind the last event."""
        with self._lock:
            self._check_open()
            return str(len(self._events)) if self._events else base.START

    def find(self, subject: str, kind: type[records.Record]) -> list[records.Event]:
        """Return the events of one kind about one subject, oldest first."""
        name = records.NAMES[kind]
        with self._lock:
            self._check_open()
            return [e for e in self._events if e.subject == subject and e.type == name]

    def latest(self, model: str, kind: type[records.Record]) -> records.Event | None:
        """Return the newest event of one kind about one model."""
        name = records.NAMES[kind]
        with self._lock:
            self._check_open()
            newest_first = reversed(self._events)
            return next((e for e in newest_first if e.model == model and e.type == name), None)

    def newest(self, limit: int, kind: type[records.Record] | None = None) -> list[records.Event]:
        """Return the newest events of a kind (or of any), oldest first."""
        with self._lock:
            self._check_open()
            wanted = [e for e in self._events if kind is None or e.type == records.NAMES[kind]]
        return wanted[-limit:]

    def mark(self, reader: str, position: base.Position) -> None:
        """Note how far a reader has read."""
        base.decode_position(position)
        with self._lock:
            self._check_open()
            self._readers[reader] = position

    def readers(self) -> dict[str, base.Position]:
        """Return the position of each reader that ever left one, by name."""
        with self._lock:
            return dict(sorted(self._readers.items()))

    def forget(self, reader: str) -> None:
        """Forget a reader."""
        with self._lock:
            self._readers.pop(reader, None)

    def room(self) -> float:
        """Return 1: memory has no cap."""
        return 1.0

    def integrity(self) -> list[str]:
        """Return findings; there are none, for memory has nothing that could break."""
        return []

    def close(self) -> None:
        """Refuse all further use."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            message = "this event log is closed; open a new one"
            raise errors.EventLogError(message)
