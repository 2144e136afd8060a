"""The default event log: one SQLite file, shared by every process on the machine.

It is also the server's outbox: a prediction is answered after its event is committed here. SQLite
lets one process write at a time, and hands out `seq` while it does, so the order of `seq` is the
order of the commits: a reader that has seen position n has seen everything up to n.

How durable a commit is depends on `synchronous` in write-ahead-log mode: NORMAL hands the bytes to
the operating system (they survive `kill -9`), FULL waits for the disk (they survive a power cut).

The SQL lies in `queries.sql`, by name.

References
----------
SQLite, Write-Ahead Logging, https://www.sqlite.org/wal.html, section 2.2 (concurrency); PRAGMA
synchronous, https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from coppice import errors, records
from coppice.eventlog import base, queries, refusals, write_ahead

SCHEMA = 3

_PAGE_BYTES = 4096
_CHUNK = 64

_Row: TypeAlias = tuple[Any, ...]


class SqliteLog:
    """An event log in one SQLite file; safe between threads and between processes.

    A commit never makes a reader wait, nor the other way round: each has a connection of its own,
    and so have `append_at_once`, which never waits at all, and `checkpoint`.
    Open it after forking; SQLite's locks do not survive a fork.

    Parameters
    ----------
    path
        The file; its folder is made where it is missing. `-wal` and `-shm` lie beside it.
    durability
        `process` survives the death of any process, `power-loss` that of the machine.
    max_bytes
        Cap on the file's size; beyond it `append` raises `LogFull`. Default: what the disk holds.

    Raises
    ------
    EventLogError
        The file cannot be opened, is not an event log, or was written by a newer Coppice.

    Examples
    --------
    >>> import tempfile
    >>> event = records.seal(
    ...     records.Command(model="digits", action="pause", actor="ada"), source="docs", now=0.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = SqliteLog(Path(folder) / "events.sqlite")
    ...     log.append([event, event])
    ...     found = log.read(base.START)
    ...     log.close()
    >>> len(found.events), found.position
    (1, '1')
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: Literal["process", "power-loss"] = "process",
        max_bytes: int | None = None,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._closed = False
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._moving = threading.Lock()
        self._checkpoints: write_ahead.Checkpoints | None = None
        self._sql = queries.named()
        with self._wrapped():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect(durability)
        self._swift: sqlite3.Connection | None = None
        try:
            with self._wrapped():
                self._prepare()
                self._reader = self._connect(durability)
                if durability == "process":
                    self._swift = self._connect(durability, busy_seconds=0.0)
                    self._swift.execute("PRAGMA wal_autocheckpoint = 0")
        except BaseException:
            self._writer.close()
            raise

    def append(self, events: Sequence[records.Event]) -> None:
        """Commit events in one transaction; see `base.EventLog.append`."""
        rows = [(e.id, e.type, e.source, e.time, e.subject, e.model, e.data) for e in events]
        chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        with self._writing, self._wrapped():
            self._check_open()
            if len(chunks) == 1:
                # One statement outside a transaction is one: a third faster than BEGIN and COMMIT.
                self._insert("append", chunks[0])
            elif chunks:
                with self._transaction():
                    for chunk in chunks:
                        self._insert("append", chunk)

    def append_at_once(self, events: Sequence[records.Event]) -> bool:
        """Commit events without ever waiting; `False`: nothing was stored, call `append`.

        For a thread that must not be held up. Declines where somebody else writes at this moment,
        where a commit would wait for the disk (`power-loss`), and where anything is wrong. Call it
        on one thread only, and now and then `checkpoint` on another: this never does it.
        """
        if self._swift is None or len(events) > _CHUNK:
            return False
        statement = queries.for_rows(self._sql["append"], len(events))
        values = [
            value
            for e in events
            for value in (e.id, e.type, e.source, e.time, e.subject, e.model, e.data)
        ]
        try:
            self._swift.execute(statement, values)
        except sqlite3.Error:
            return False
        return True

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file; others commit meanwhile.

        From the first call on `append` leaves it to further ones, instead of every thousand pages.

        Raises
        ------
        EventLogError
            The file cannot be written. What was committed stays in the write-ahead log.
        """
        with self._moving, self._wrapped():
            self._check_open()
            if self._checkpoints is None:
                connect = functools.partial(self._connect, "process")
                self._checkpoints = write_ahead.Checkpoints(
                    self._path, connect, self._writer, self._writing
                )
            self._checkpoints.run()

    def _insert(self, query: str, rows: Sequence[_Row]) -> None:
        # All rows in one statement: Python's lock is given up once for each, and a busy thread
        # takes its time to give it back.
        statement = queries.for_rows(self._sql[query], len(rows))
        self._writer.execute(statement, [value for row in rows for value in row])

    def receive(self, events: Sequence[records.Event], consumed: base.Consumed) -> None:
        """Commit events that came from Kafka together with how far it was read: all or nothing.

        An event that is stored already is passed over, also where it was appended here: it stays
        a local one.

        Raises
        ------
        LogFull
            There is no room. Nothing of this call was stored.
        EventLogError
            The log cannot be written. Nothing of this call was stored.
        """
        rows = [(e.id, e.type, e.source, e.time, e.subject, e.model, e.data, 1) for e in events]
        with self._writing, self._wrapped():
            self._check_open()
            with self._transaction():
                for start in range(0, len(rows), _CHUNK):
                    self._insert("receive", rows[start : start + _CHUNK])
                for (topic, part), offset in consumed.items():
                    self._writer.execute(self._sql["consume"], (topic, part, offset))

    def consumed(self) -> base.Consumed:
        """Return how far Kafka was read into this log."""
        return {(topic, part): offset for topic, part, offset in self._select("consumed")}

    def read(self, after: base.Position, limit: int = 1000) -> base.Batch:
        """Return at most `limit` events behind a position.

        A row that cannot be read does not hold up a reader: in its place comes an event of the type
        `refusals.UNREADABLE`, which `records.unseal` refuses like any other that does not decode.
        """
        start = base.decode_position(after)
        try:
            rows = self._select("read", start, limit)
        except errors.EventLogError:
            return self._read_one_by_one("read_one", start, limit)
        return base.Batch(_events(rows), str(rows[-1][7]) if rows else after)

    def read_local(self, after: base.Position, limit: int = 1000) -> base.Batch:
        """Return at most `limit` events behind a position that were appended here.

        What came from Kafka is passed over, and so is a row that cannot be read. The position is
        behind all of these, so that they are looked at once, and keep no event from being removed.
        """
        start = base.decode_position(after)
        # The end first: an event that is committed in between must lie behind the position.
        end = base.decode_position(self.end())
        try:
            rows = self._select("read_local", start, limit)
        except errors.EventLogError:
            batch = self._read_one_by_one("read_one_local", start, limit)
            readable = [event for event in batch.events if event.type != refusals.UNREADABLE]
            return base.Batch(readable, batch.position)
        last = rows[-1][7] if rows else start
        seen = last if len(rows) == limit else max(last, end)
        return base.Batch(_events(rows), str(seen) if seen else base.START)

    def backlog(self, after: base.Position) -> base.Backlog:
        """Return how much was appended here behind a position."""
        return base.Backlog(*self._select("backlog", base.decode_position(after))[0])

    def end(self) -> base.Position:
        """Return the position behind the last committed event."""
        last = self._select("end")[0][0]
        return base.START if last is None else str(last)

    def find(self, subject: str, kind: type[records.Record]) -> list[records.Event]:
        """Return the events of one kind about one subject, oldest first."""
        return _events(self._select("find", subject, records.NAMES[kind]))

    def latest(self, model: str, kind: type[records.Record]) -> records.Event | None:
        """Return the newest event of one kind about one model."""
        return next(iter(_events(self._select("latest", model, records.NAMES[kind]))), None)

    def newest(self, limit: int, kind: type[records.Record] | None = None) -> list[records.Event]:
        """Return the newest events of a kind (or of any), oldest first."""
        if kind is None:
            rows = self._select("newest", limit)
        else:
            rows = self._select("newest_of_type", records.NAMES[kind], limit)
        return _events(rows)[::-1]

    def mark(self, reader: str, position: base.Position) -> None:
        """Note durably how far a reader has read; see `base.Readership.mark`."""
        self._change("mark", reader, base.decode_position(position))

    def readers(self) -> dict[str, base.Position]:
        """Return the position of each reader that ever left one, by name."""
        rows = self._select("readers")
        return {name: str(seq) if seq else base.START for name, seq in rows}

    def forget(self, reader: str) -> None:
        """Forget a reader, so that it no longer keeps events from being removed."""
        self._change("forget", reader)

    def used_bytes(self) -> int:
        """Return the size of what is stored; the file is larger where events were removed."""
        return int(self._select("used_bytes")[0][0])

    def room(self) -> float:
        """Return which share is still free of the cap, or of the disk's room for this log."""
        used = self.used_bytes()
        of_disk = refusals.free_share(self._path, used)
        return of_disk if not self._max_bytes else min(of_disk, 1.0 - used / self._max_bytes)

    def ages(self, after: base.Position, limit: int) -> list[tuple[int, float]]:
        """Return sequence number and time of the oldest events that retention may remove.

        The first event of all is never among them: it is what tells this log from another.
        """
        rows = self._select("ages", base.decode_position(after), limit)
        return [(int(seq), float(time)) for seq, time in rows]

    def remove(self, after: base.Position, last: int) -> int:
        """Remove what `ages` named up to a sequence number; return how many events that were."""
        return self._change("remove", base.decode_position(after), last)

    def integrity(self) -> list[str]:
        """Read the whole file and return what is wrong with it, each finding with its remedy."""
        try:
            lines = [str(row[0]) for row in self._select("integrity")]
            kinds = self._select("unknown_types")
        except errors.EventLogError as cause:
            return [str(cause)]
        findings = [f"{self._path}: {line}; {refusals.RECOVER}" for line in lines if line != "ok"]
        for kind, count in kinds:
            if kind not in records.TYPES:
                findings.append(
                    f"{self._path}: {count} events have the unknown type {kind!r} and are passed "
                    "over; upgrade Coppice if a newer one wrote them"
                )
        return findings

    def close(self) -> None:
        """Close all connections; waits for a commit that is under way."""
        with self._moving, self._writing, self._reading:
            self._closed = True
            if self._checkpoints is not None:
                self._checkpoints.close()
            for connection in (self._writer, self._reader, self._swift):
                if connection is not None:
                    connection.close()

    def _connect(
        self, durability: str, *, busy_seconds: float = refusals.BUSY_SECONDS
    ) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        connection.executescript(self._sql["settings_of_connection"])
        level = "FULL" if durability == "power-loss" else "NORMAL"
        connection.execute(f"PRAGMA synchronous = {level}")
        if self._max_bytes is not None:
            pages = max(1, self._max_bytes // _PAGE_BYTES)
            connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    def _prepare(self) -> None:
        write_ahead.switch_on(self._writer, self._sql["journal"])
        with self._transaction():
            self._migrate()

    def _migrate(self) -> None:
        known = self._writer.execute(self._sql["has_version"]).fetchone()
        if known is None and self._writer.execute(self._sql["is_foreign"]).fetchone():
            message = f"{self._path} is an SQLite file, but not an event log; move it away"
            raise errors.EventLogError(message)
        version = self._writer.execute(self._sql["version"]).fetchone()[0] if known else 0
        if version > SCHEMA:
            message = f"{self._path} has schema {version}, this version reads {SCHEMA}; upgrade"
            raise errors.EventLogError(message)
        for step in range(version + 1, SCHEMA + 1):
            for statement in queries.statements(self._sql[f"migration_{step}"]):
                self._writer.execute(statement)
            self._writer.execute(self._sql["record_version"], (step,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            # A full disk makes SQLite roll back by itself.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _change(self, query: str, *values: str | int) -> int:
        with self._writing, self._wrapped():
            self._check_open()
            return self._writer.execute(self._sql[query], values).rowcount

    def _select(self, query: str, *values: str | int) -> list[_Row]:
        with self._reading, self._wrapped():
            self._check_open()
            # All rows at once: an open cursor would keep the write-ahead log from being emptied.
            return self._reader.execute(self._sql[query], values).fetchall()

    def _read_one_by_one(self, query: str, start: int, limit: int) -> base.Batch:
        """Read around rows that cannot be read; raise where nothing at all can be."""
        last = self._select("end")[0][0] or 0
        events: list[records.Event] = []
        seq = start
        for seq in range(start + 1, min(start + limit, last) + 1):
            try:
                events += _events(self._select(query, seq))
            except errors.EventLogError as cause:
                events.append(refusals.stand_in(seq, cause))
        return base.Batch(events, str(seq) if seq else base.START)

    def _check_open(self) -> None:
        if self._closed:
            message = f"the event log {self._path} is closed; open it anew"
            raise errors.EventLogError(message)

    @contextlib.contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as cause:
            refusals.refuse(self._path, cause)
        except OSError as cause:
            message = f"the event log's folder {self._path.parent} cannot be made: {cause}"
            raise errors.EventLogError(message) from cause


def _events(rows: Sequence[_Row]) -> list[records.Event]:
    return [records.Event(*row[:7]) for row in rows]
