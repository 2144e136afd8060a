"""SQLite's write-ahead log: how it is switched on, and emptied without a commit that waits.

A commit is quick because it only adds to the write-ahead log; now and then somebody has to move
what gathered there into the file (a checkpoint). SQLite by itself does so within the commit that
finds a thousand pages, and that commit, with all behind it, waits for the disk twice. `Checkpoints`
does it beside the commits.

References
----------
SQLite, Write-Ahead Logging, https://www.sqlite.org/wal.html, sections 2.1 (checkpointing) and 6
(avoiding excessively large WAL files).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from coppice.eventlog import refusals

PAGES = 12_000
"""From so many pages on the write-ahead log is begun anew: 49 MB. What comes until then stays below
the `journal_size_limit`, beyond which SQLite would cut the file off only for it to grow again."""

AGAIN_PAGES = PAGES // 4
"""Where a reader kept it from being begun anew, that is tried again after so many more pages."""

PATIENCE_PAGES = 4 * PAGES
"""From so many pages on commits move them after all, should nobody call `Checkpoints.run`."""

_DESCRIPTORS = Path("/dev/fd")


def switch_on(connection: sqlite3.Connection, statement: str) -> None:
    """Switch a file to write-ahead logging.

    SQLite does not wait for its lock on this one statement, so processes that open a new log at the
    same moment must try again by themselves.

    Raises
    ------
    sqlite3.Error
        The file is no database, or is held by somebody else for too long.
    """
    deadline = time.monotonic() + refusals.BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as cause:
            if cause.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


class Checkpoints:
    """Moves the write-ahead log into the file while others go on committing.

    That alone would never end under steady load: SQLite writes the log from its beginning again
    only once all of it was moved, and new pages come meanwhile. So when it has grown long, commits
    wait after all, but only for what came during the last passes; the rest is on the disk by then.

    Parameters
    ----------
    path
        The file.
    connect
        Opens a connection to it.
    writer
        The connection that commits; it no longer moves the log by itself.
    writing
        Held by whoever uses `writer`.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        writer: sqlite3.Connection,
        writing: threading.Lock,
    ) -> None:
        self._path = path
        self._writer = writer
        self._writing = writing
        self._pages = 0
        self._due = PAGES
        self._mover = connect()
        before = self._descriptors()
        # Of this one only the descriptor is used. It cannot be one of our own: closing that would
        # drop all locks that SQLite holds on the file. Nor one that SQLite syncs itself: an error
        # of the disk is reported once per descriptor, and must not be hidden from SQLite.
        self._spare = connect()
        fresh = self._descriptors() - before
        self._descriptor = fresh.pop() if len(fresh) == 1 else None
        with writing:
            writer.execute(f"PRAGMA wal_autocheckpoint = {PATIENCE_PAGES}")

    def run(self) -> None:
        """Move what is there; call it on a thread that may wait for the disk.

        Raises
        ------
        sqlite3.Error
            It failed; nothing is lost, and the next call tries again.
        """
        before, self._pages = self._pages, self._pass()
        if self._pages < before:  # it was begun anew since
            self._due = PAGES
        if self._pages < self._due:
            return
        # A pass that is overtaken by commits does not sync the file. The last one does, so most of
        # that is done before anybody waits for it.
        self._sync()
        self._pages = self._pass()
        self._due = self._pages + AGAIN_PAGES
        self._sync()
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                self._pass()
            finally:
                self._writer.execute("COMMIT")

    def close(self) -> None:
        """Close its connections."""
        self._mover.close()
        self._spare.close()

    def _pass(self) -> int:
        """Move what no reader still needs; return how many pages the log has."""
        busy, pages, _ = self._mover.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return 0 if busy else int(pages)  # busy: another process is at it already

    def _sync(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # the pass that follows meets it, and says so
                os.fsync(self._descriptor)

    def _descriptors(self) -> set[int]:
        """Return this process's open descriptors of the file; none where the system hides them."""
        found: set[int] = set()
        with contextlib.suppress(OSError):
            status = self._path.stat()
            for entry in _DESCRIPTORS.iterdir():
                with contextlib.suppress(OSError):  # the one of the listing itself is gone by now
                    if os.path.samestat(os.fstat(int(entry.name)), status):
                        found.add(int(entry.name))
        return found
