"""Append predictions to a SQLite log in a process of its own and print each acknowledged id.

Usage: python appender.py PATH NAME COUNT BATCH [MAX_FILE_BYTES]

Prints `ready`, waits for a line, appends COUNT events of 1 KiB named NAME-0, NAME-1, ... in batches
of BATCH, and prints each batch's ids once they are committed. An error is printed by its name.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from coppice import errors, records
from coppice.eventlog.sqlite import SqliteLog


def main(path: str, name: str, count: int, batch: int, max_file_bytes: int | None = None) -> None:
    log = SqliteLog(Path(path))
    if max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    _say("ready")
    sys.stdin.readline()
    for start in range(0, count, batch):
        ids = [f"{name}-{index}" for index in range(start, min(start + batch, count))]
        try:
            log.append([_event(event_id) for event_id in ids])
        except errors.EventLogError as cause:
            _say(type(cause).__name__)
            return
        _say("\n".join(ids))
    log.close()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _event(event_id: str) -> records.Event:
    return records.Event(
        id=event_id,
        type="coppice.prediction.v1",
        source="tests",
        time=0.0,
        subject=event_id,
        model="digits",
        data=bytes(1024),
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
