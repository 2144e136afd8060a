"""Look-ups over the files of one machine: the server's outbox and the replica beside it."""

from __future__ import annotations

from coppice import records
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.sqlite import SqliteLog


class JoinedIndex:
    """Find events in the server's outbox and, where there is one, in the replica.

    The outbox has what this server wrote, at once. What other processes and machines wrote, such as
    a verdict, is in the replica; so is what this server wrote, once it has been through Kafka.

    Parameters
    ----------
    outbox
        What the server writes; its owner closes it.
    replica
        What came from Kafka; closed with this index.
    """

    def __init__(
        self, outbox: SqliteLog | MemoryLog, replica: SqliteLog | MemoryLog | None = None
    ) -> None:
        self._outbox = outbox
        self._replica = replica

    def find(self, subject: str, kind: type[records.Record]) -> list[records.Event]:
        """Return the events of one kind about one subject, each once, oldest first."""
        found = self._outbox.find(subject, kind)
        if self._replica is None:
            return found
        known = {event.id for event in found}
        found += [e for e in self._replica.find(subject, kind) if e.id not in known]
        return sorted(found, key=lambda event: event.time)

    def close(self) -> None:
        """Let go of the replica."""
        if self._replica is not None:
            self._replica.close()
