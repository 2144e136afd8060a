"""SQLite's errors in our words."""

from __future__ import annotations

import resource
import sqlite3
from pathlib import Path

import pytest

from coppice import errors
from coppice.eventlog import refusals


def failing(code: int) -> sqlite3.OperationalError:
    """An error of SQLite's, as the library raises it."""
    found = sqlite3.OperationalError("it went wrong")
    found.sqlite_errorcode = code
    return found


def test_a_full_disk_is_a_full_log(tmp_path: Path) -> None:
    with pytest.raises(errors.LogFull, match="nothing was stored; free space"):
        refusals.refuse(tmp_path / "log", failing(sqlite3.SQLITE_FULL))


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (sqlite3.SQLITE_BUSY, "stop that process"),
        (sqlite3.SQLITE_CORRUPT, r"\.recover"),
        (sqlite3.SQLITE_CANTOPEN, r"store\.home"),
        # The low byte is the kind: a failed write is a failed access.
        (sqlite3.SQLITE_IOERR | 3 << 8, "over its quota"),
        (sqlite3.SQLITE_MISUSE, "coppice doctor"),
    ],
)
def test_each_error_names_its_remedy(tmp_path: Path, code: int, remedy: str) -> None:
    with pytest.raises(errors.EventLogError, match=remedy) as caught:
        refusals.refuse(tmp_path / "log", failing(code))
    assert not isinstance(caught.value, errors.LogFull)


@pytest.mark.parametrize("name", ["log", "log-wal"])
def test_a_file_at_the_limit_of_its_process_is_a_full_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_bytes(bytes(2**20))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**20, 2**20))
    with pytest.raises(errors.LogFull, match=r"ulimit -f.*raise that limit"):
        refusals.refuse(tmp_path / "log", failing(sqlite3.SQLITE_IOERR))


def test_a_small_file_that_cannot_be_written_is_no_full_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_bytes(b"small")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**30, 2**30))
    with pytest.raises(errors.EventLogError, match="over its quota"):
        refusals.refuse(tmp_path / "log", failing(sqlite3.SQLITE_IOERR))
