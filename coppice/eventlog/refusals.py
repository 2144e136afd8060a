"""SQLite's errors in our words: what was wrong, and what to do about it."""

from __future__ import annotations

import resource
import shutil
import sqlite3
from pathlib import Path
from typing import NoReturn

from coppice import errors, records

UNREADABLE = "coppice.unreadable"
"""Type of the event that stands in for a row that cannot be read; no reader can decode it."""
BUSY_SECONDS = 10.0
"""How long a statement waits for another process's lock."""
RECOVER = "stop Coppice, keep a copy, and mend it with `sqlite3 FILE .recover`"
"""What to do about a damaged file."""

_LITTLE_SPACE = 2**20
_PAGES = 2**17
"""What one transaction may add to a file before its size is seen to change."""
_REMEDIES = {
    sqlite3.SQLITE_BUSY: f"another process held it for {BUSY_SECONDS:.0f} s; stop that process",
    sqlite3.SQLITE_LOCKED: "another statement holds it; try again",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite file; move it away, or set `store.home`",
    sqlite3.SQLITE_CORRUPT: RECOVER,
    sqlite3.SQLITE_IOERR: "check the disk: it may be over its quota or failing",
    sqlite3.SQLITE_READONLY: "it cannot be written; check the rights of the file and its folder",
    sqlite3.SQLITE_PERM: "check the rights of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "check the path `store.home` and the rights of the folder",
    sqlite3.SQLITE_TOOBIG: "the event is larger than SQLite stores; send fewer rows per request",
}


def refuse(path: Path, cause: sqlite3.Error) -> NoReturn:
    """Raise the error of ours that says what to do about one of SQLite's."""
    # The low byte is the kind; the rest says where in SQLite it happened.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _disk_is_full(path)):
        message = f"no room for the event log {path}: nothing was stored; free space and try again"
        raise errors.LogFull(message) from cause
    if code == sqlite3.SQLITE_IOERR and _is_as_large_as_may_be(path):
        message = (
            f"the event log {path} is as large as a file of this process may be (`ulimit -f`): "
            "nothing was stored; raise that limit, or set `events.retention_bytes` below it"
        )
        raise errors.LogFull(message) from cause
    remedy = _REMEDIES.get(code, "`coppice doctor` checks the file")
    message = f"the event log {path} cannot be used: {cause}; {remedy}"
    raise errors.EventLogError(message) from cause


def free_share(path: Path, used_bytes: int) -> float:
    """Return which share of the room for a log is still free, where it has the rest of its disk.

    What was removed from the file is free, too. 1 where the disk does not say.
    """
    try:
        free = shutil.disk_usage(path.parent).free + path.stat().st_size - used_bytes
    except OSError:
        return 1.0
    return max(0.0, free / max(1, free + used_bytes))


def _disk_is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _LITTLE_SPACE
    except OSError:
        return False


def _is_as_large_as_may_be(path: Path) -> bool:
    """Say whether the log, or what is written ahead of it, is at this process's limit of a file."""
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most == resource.RLIM_INFINITY:
        return False
    files = [path, path.with_name(f"{path.name}-wal")]
    return any(file.stat().st_size + _PAGES >= most for file in files if file.exists())


def stand_in(seq: int, cause: errors.EventLogError) -> records.Event:
    """Return the event that stands in for a row that cannot be read."""
    return records.Event(
        id=f"unreadable-{seq}",
        type=UNREADABLE,
        source="coppice.eventlog.sqlite",
        time=0.0,
        subject=str(cause),
        model="",
        data=b"",
    )
