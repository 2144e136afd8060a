from __future__ import annotations

import contextlib
from pathlib import Path

from coppice import eventlog, settings
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.sqlite import SqliteLog


def tree(root: Path, **events: str) -> settings.Settings:
    return settings.from_tree({"project": {"name": "digits"}, "events": events}, root=root)


def test_the_default_is_one_sqlite_file_in_the_home_folder(tmp_path: Path) -> None:
    with contextlib.closing(eventlog.open_log(tree(tmp_path))) as log:
        assert isinstance(log, SqliteLog)

    assert (tmp_path / ".coppice" / "events.sqlite").is_file()


def test_durability_is_passed_on(tmp_path: Path) -> None:
    log = eventlog.open_log(tree(tmp_path, durability="power-loss"))
    with contextlib.closing(log):
        assert isinstance(log, SqliteLog)
        # 2 is FULL (SQLite, PRAGMA synchronous).
        assert log._writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_memory_can_be_asked_for(tmp_path: Path) -> None:
    log = eventlog.open_log(tree(tmp_path, backend="memory"))

    assert isinstance(log, MemoryLog)
    assert not (tmp_path / ".coppice").exists()
