"""The event log: one protocol and its implementations.

What may NOT happen here: decoding a record, or deciding anything about one. A log stores envelopes
and gives them back in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coppice import settings
    from coppice.eventlog.memory import MemoryLog
    from coppice.eventlog.sqlite import SqliteLog

__all__ = ["open_log"]


def open_log(tree: settings.Settings) -> SqliteLog | MemoryLog:
    """Open the event log that the settings name.

    Raises
    ------
    EventLogError
        The log's file cannot be opened, or is not an event log.
    """
    match tree.events.backend:
        case "memory":
            from coppice.eventlog.memory import MemoryLog

            return MemoryLog()
        case "sqlite":
            from coppice.eventlog.sqlite import SqliteLog

            events = tree.events
            return SqliteLog(
                tree.log_path, durability=events.durability, max_bytes=events.cap_bytes
            )
