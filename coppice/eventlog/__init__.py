"""The event log: one protocol and its implementations.

What may NOT happen here: decoding a record, or deciding anything about one. A log stores envelopes
and gives them back in order.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coppice import settings
    from coppice.eventlog.joined import JoinedIndex
    from coppice.eventlog.memory import MemoryLog
    from coppice.eventlog.sqlite import SqliteLog

__all__ = ["open_index", "open_log", "open_outbox"]


def open_log(tree: settings.Settings) -> SqliteLog | MemoryLog:
    """Open the event log that every process but the server works on.

    With Kafka it is this machine's replica: what came from the cluster, and what these processes
    appended themselves.

    Raises
    ------
    EventLogError
        The log's file cannot be opened, or is not an event log.
    """
    return _open(tree, tree.log_path)


def open_outbox(tree: settings.Settings) -> SqliteLog | MemoryLog:
    """Open the event log that the server writes: the same one, unless Kafka joins the two.

    Raises
    ------
    EventLogError
        The log's file cannot be opened, or is not an event log.
    """
    return _open(tree, tree.outbox_path)


def open_index(tree: settings.Settings, outbox: SqliteLog | MemoryLog) -> JoinedIndex:
    """Open what the server looks events up in: its outbox and, with Kafka, the replica too.

    Raises
    ------
    EventLogError
        The log's file cannot be opened, or is not an event log.
    """
    from coppice.eventlog.joined import JoinedIndex

    return JoinedIndex(outbox, open_log(tree) if tree.events.backend == "kafka" else None)


def _open(tree: settings.Settings, path: Path) -> SqliteLog | MemoryLog:
    match tree.events.backend:
        case "memory":
            from coppice.eventlog.memory import MemoryLog

            return MemoryLog()
        case "sqlite" | "kafka":
            from coppice.eventlog.sqlite import SqliteLog

            events = tree.events
            return SqliteLog(path, durability=events.durability, max_bytes=events.cap_bytes)
