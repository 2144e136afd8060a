"""The write-ahead log is emptied beside the commits, and begun anew before it grows too long."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from coppice import errors, records
from coppice.eventlog import base, write_ahead
from coppice.eventlog.sqlite import SqliteLog
from tests.support import events

PAGE = 4096

HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as shared:
    # SQLite, WAL-mode File Format, section 2.3: the lock of whoever moves the log is byte 121.
    fcntl.lockf(shared, fcntl.LOCK_EX, 1, 121)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with contextlib.closing(SqliteLog(path)) as opened:
        yield opened


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin the write-ahead log anew from 100 pages on, and try again 50 pages later."""
    monkeypatch.setattr(write_ahead, "PAGES", 100)
    monkeypatch.setattr(write_ahead, "AGAIN_PAGES", 50)


def pages(count: int) -> list[records.Event]:
    """Events that each fill a page of the table."""
    return [msgspec.structs.replace(events.command(), data=bytes(3600)) for _ in range(count)]


def gathered(path: Path) -> int:
    """Pages in the write-ahead log since it was begun anew."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])


def left_by(log: SqliteLog) -> int:
    """Pages that are not in the file yet, by its size: the rest of it is never empty."""
    (count,) = log._reader.execute("PRAGMA page_count").fetchone()
    return int(count) - log._path.stat().st_size // PAGE


@contextlib.contextmanager
def an_old_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A reader that goes on seeing the log as it is now."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        yield reader


def test_what_was_committed_is_moved_into_the_file(log: SqliteLog) -> None:
    log.append(pages(60))
    assert left_by(log) > 50
    log.checkpoint()
    assert left_by(log) == 0


def test_from_then_on_no_commit_moves_a_thousand_pages(log: SqliteLog) -> None:
    log.checkpoint()
    log.append(pages(1100))
    assert left_by(log) > 1000
    log.checkpoint()
    assert left_by(log) == 0


def test_a_log_that_nobody_empties_is_emptied_by_its_commits(log: SqliteLog) -> None:
    log.append(pages(1100))
    assert left_by(log) == 0


@pytest.fixture
def overtaken(log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During each pass one more event is committed, unless nobody can commit then.

    A reader stands in for the moment: a pass that began before a commit sees no more than it does.
    """
    inner = write_ahead.Checkpoints._pass

    def overtake(checkpoints: write_ahead.Checkpoints) -> int:
        with an_old_reader(path):
            log.append_at_once(pages(1))
            return inner(checkpoints)

    monkeypatch.setattr(write_ahead.Checkpoints, "_pass", overtake)


def test_a_pass_that_is_overtaken_leaves_a_short_log_as_it_is(
    log: SqliteLog, path: Path, overtaken: None
) -> None:
    del overtaken
    log.append(pages(60))
    log.checkpoint()
    log.append(pages(10))
    # Seventy-one events of a page each at least.
    assert gathered(path) > 70


def test_a_long_log_is_begun_anew_though_passes_are_overtaken(
    log: SqliteLog, path: Path, short: None, overtaken: None
) -> None:
    del short, overtaken
    log.append(pages(150))
    log.checkpoint()
    log.append(pages(1))
    assert gathered(path) < 10
    # 150, one during each of the two passes that others may overtake, and the last.
    assert len(log.read(base.START).events) == 153


def test_under_steady_load_it_is_begun_anew_once_it_is_long(path: Path, short: None) -> None:
    del short
    stopping = threading.Event()
    with contextlib.closing(SqliteLog(path)) as log:

        def commit() -> None:
            while not stopping.is_set():
                log.append(pages(1))

        committing = threading.Thread(target=commit)
        committing.start()
        try:
            for _ in range(40):
                log.checkpoint()
                log.append(pages(10))
        finally:
            stopping.set()
            committing.join()
        stored = len(log.read(base.START, limit=100_000).events)

        # A page for each event at least, had it never begun anew.
        assert stored >= 400
        assert gathered(path) < stored / 2
        assert log.integrity() == []


def test_a_reader_keeps_what_it_sees_and_holds_up_no_commit(
    log: SqliteLog, path: Path, short: None
) -> None:
    del short
    log.append(pages(3))
    with an_old_reader(path) as reader:
        log.append(pages(150))
        log.checkpoint()
        log.append(pages(1))

        assert reader.execute("SELECT count(*) FROM events").fetchone() == (3,)
        assert gathered(path) > 150
    log.append(pages(60))
    log.checkpoint()
    log.append(pages(1))
    assert gathered(path) < 10


@pytest.fixture
def alone(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each pass whether commits waited for it."""
    found: list[bool] = []
    inner = write_ahead.Checkpoints._pass

    def noted(checkpoints: write_ahead.Checkpoints) -> int:
        found.append(log._writer.in_transaction)
        return inner(checkpoints)

    monkeypatch.setattr(write_ahead.Checkpoints, "_pass", noted)
    return found


def test_where_a_reader_kept_it_the_next_try_waits_for_more_pages(
    log: SqliteLog, path: Path, short: None, alone: list[bool]
) -> None:
    del short
    log.append(pages(3))
    with an_old_reader(path):
        log.append(pages(150))
        log.checkpoint()
        log.append(pages(10))
        log.checkpoint()
        assert alone == [False, False, True, False]
        # Sixty more events than at the first try are more than fifty pages more.
        log.append(pages(50))
        log.checkpoint()
        assert alone[4:] == [False, False, True]


def test_while_another_process_is_at_it_nothing_is_done(log: SqliteLog, path: Path) -> None:
    log.append(pages(60))
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLD, f"{path}-shm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == "held\n"
        log.checkpoint()
        assert left_by(log) > 50
        holding.communicate()
    log.checkpoint()
    assert left_by(log) == 0


def test_the_file_is_synced_by_a_descriptor_that_is_nobody_elses(
    log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    del short
    synced: list[int] = []
    log.append(pages(150))
    before = {int(entry.name) for entry in Path("/dev/fd").iterdir()}
    monkeypatch.setattr("os.fsync", synced.append)
    log.checkpoint()

    # Twice before the pass that commits wait for; the descriptor is the log's, yet a new one.
    assert len(synced) == 2
    assert set(synced).isdisjoint(before)
    assert os.path.samestat(os.fstat(synced[0]), path.stat())


def test_where_the_system_hides_descriptors_it_is_begun_anew_all_the_same(
    log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch, short: None, tmp_path: Path
) -> None:
    del short
    monkeypatch.setattr(write_ahead, "_DESCRIPTORS", tmp_path / "absent")
    log.append(pages(150))
    log.checkpoint()
    log.append(pages(1))
    assert gathered(path) < 10


def test_a_log_that_waits_for_the_disk_is_emptied_too(path: Path) -> None:
    with contextlib.closing(SqliteLog(path, durability="power-loss")) as log:
        log.append(pages(60))
        log.checkpoint()
        assert left_by(log) == 0


def test_a_closed_log_says_so(path: Path) -> None:
    log = SqliteLog(path)
    log.checkpoint()
    log.close()
    with pytest.raises(errors.EventLogError, match="is closed"):
        log.checkpoint()


def test_the_write_ahead_log_is_gone_once_the_log_is_closed(path: Path) -> None:
    log = SqliteLog(path)
    log.append(pages(10))
    log.checkpoint()
    log.append(pages(10))
    log.close()
    assert sorted(found.name for found in path.parent.iterdir()) == [path.name]


def test_a_file_that_stays_locked_is_not_waited_for_forever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coppice.eventlog.refusals.BUSY_SECONDS", 0.05)
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
        contextlib.closing(sqlite3.connect(path, timeout=0.0)) as connection,
    ):
        other.execute("CREATE TABLE held (x)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write_ahead.switch_on(connection, "PRAGMA journal_mode = WAL")
