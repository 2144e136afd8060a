from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from coppice import eventlog, records, settings
from coppice.eventlog import base
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.sqlite import SqliteLog
from tests.support import events


def tree(root: Path, **table: str) -> settings.Settings:
    return settings.from_tree({"project": {"name": "digits"}, "events": table}, root=root)


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


KAFKA = {"events": {"backend": "kafka"}, "kafka": {"servers": "k:9092"}}


def joined_by_kafka(root: Path) -> settings.Settings:
    return settings.from_tree({"project": {"name": "digits"}, **KAFKA}, root=root)


def test_without_kafka_the_server_writes_the_one_file(tmp_path: Path) -> None:
    with contextlib.closing(eventlog.open_outbox(tree(tmp_path))) as outbox:
        outbox.append([events.command()])

        with contextlib.closing(eventlog.open_log(tree(tmp_path))) as log:
            assert log.read(base.START) == outbox.read(base.START)


def test_with_kafka_the_server_writes_a_file_of_its_own(tmp_path: Path) -> None:
    on_kafka = joined_by_kafka(tmp_path)
    with contextlib.closing(eventlog.open_outbox(on_kafka)) as outbox:
        outbox.append([events.command()])

        with contextlib.closing(eventlog.open_log(on_kafka)) as log:
            assert log.read(base.START).events == []
    assert sorted(file.name for file in (tmp_path / ".coppice").glob("*.sqlite")) == [
        "events.sqlite",
        "outbox.sqlite",
    ]


def test_with_kafka_the_server_finds_what_others_wrote(tmp_path: Path) -> None:
    on_kafka = joined_by_kafka(tmp_path)
    own, foreign = events.prediction("a"), events.feedback("a")
    with (
        contextlib.closing(eventlog.open_outbox(on_kafka)) as outbox,
        contextlib.closing(SqliteLog(on_kafka.log_path)) as log,
        contextlib.closing(eventlog.open_index(on_kafka, outbox)) as index,
    ):
        outbox.append([own])
        log.receive([foreign, own], {("topic", 0): 2})

        assert index.find("a", records.Prediction) == [own]
        assert index.find("a", records.Feedback) == [foreign]


def test_what_is_found_in_both_files_comes_oldest_first(tmp_path: Path) -> None:
    on_kafka = joined_by_kafka(tmp_path)
    newer = events.feedback("a")
    older = msgspec.structs.replace(events.feedback("a"), time=newer.time - 1.0)
    with (
        contextlib.closing(eventlog.open_outbox(on_kafka)) as outbox,
        contextlib.closing(eventlog.open_log(on_kafka)) as log,
        contextlib.closing(eventlog.open_index(on_kafka, outbox)) as index,
    ):
        outbox.append([newer])
        log.append([older])

        assert index.find("a", records.Feedback) == [older, newer]


def test_without_kafka_look_ups_go_to_the_one_file(tmp_path: Path) -> None:
    event = events.prediction("a")
    log = eventlog.open_log(tree(tmp_path, backend="memory"))
    log.append([event])

    with contextlib.closing(eventlog.open_index(tree(tmp_path, backend="memory"), log)) as index:
        assert index.find("a", records.Prediction) == [event]
