"""One `coppice up` per project, and what it says of itself while it runs.

The lock is the operating system's (flock): it ends with its process, also by kill -9, so a file
that is left behind locks nobody out. The status file is only believed while the lock is held.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from coppice import errors

LOCK = "up.lock"
STATUS = "up.json"
TRIES = 5
PAUSE_SECONDS = 0.05


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the running `coppice up`."""

    name: str
    phase: str
    pid: int | None
    restarts: int
    reason: str
    """Why it last stopped; empty where it never did."""
    log: str
    """Path of its log file."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A running `coppice up`; times are seconds since 1970 UTC."""

    pid: int
    started_at: float
    children: tuple[ChildStatus, ...] = ()


@contextlib.contextmanager
def hold(home: Path) -> Iterator[int | None]:
    """Hold the project's lock for the length of a `with` block.

    Yields the process id of an earlier run that did not end cleanly, or `None`.

    Raises
    ------
    EnvironmentProblem
        Another `coppice up` holds it; the message names its process.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a+") as file:
        if not _take(file):
            message = (
                f"`coppice up` runs already for this project (process {_owner(file)}); "
                "`coppice status` shows it, and SIGTERM to that process stops it"
            )
            raise errors.EnvironmentProblem(message)
        left_by = _owner(file)
        _write_owner(file, str(os.getpid()))
        try:
            yield left_by
        finally:
            _write_owner(file, "")
            (home / STATUS).unlink(missing_ok=True)


def write_status(home: Path, status: Status) -> None:
    """Replace the status file in one atomic step."""
    handle, temporary = tempfile.mkstemp(dir=home, prefix=STATUS)
    with os.fdopen(handle, "wb") as stream:
        stream.write(msgspec.json.encode(status))
    Path(temporary).replace(home / STATUS)


def read_status(home: Path) -> Status | None:
    """Return what a running `coppice up` says of itself; `None` where none runs."""
    try:
        with (home / LOCK).open("r") as file:
            if _free(file):
                return None
        return msgspec.json.decode((home / STATUS).read_bytes(), type=Status)
    except FileNotFoundError:
        return None


def _take(file: TextIO) -> bool:
    # A few tries, because whoever reads the status holds the lock for an instant.
    for _ in range(TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE_SECONDS)
        else:
            return True
    return False


def _free(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(file: TextIO) -> int | None:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else None


def _write_owner(file: TextIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
