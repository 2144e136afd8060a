from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from coppice import errors, records
from coppice.eventlog import base, queries, refusals
from coppice.eventlog.sqlite import SqliteLog
from tests.support import events

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with contextlib.closing(SqliteLog(path)) as opened:
        yield opened


def change(path: Path, *statements: str) -> None:
    """Do to the file what no Coppice would."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def ask(path: Path, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def one_page_each(count: int) -> list[records.Event]:
    """Events so large that each fills most of a page of the table."""
    return [
        msgspec.structs.replace(events.command(), data=f"mark-{index:04d}".encode() * 340)
        for index in range(count)
    ]


def break_page_of(path: Path, mark: bytes) -> None:
    """Overwrite the header of the page in which a payload lies."""
    content = bytearray(path.read_bytes())
    start = content.index(mark) // PAGE * PAGE
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)


class TestOpening:
    def test_a_missing_folder_is_made(self, tmp_path: Path) -> None:
        SqliteLog(tmp_path / "a" / "b" / "events.sqlite").close()

        assert (tmp_path / "a" / "b" / "events.sqlite").is_file()

    def test_events_are_there_after_opening_again(self, path: Path) -> None:
        event = events.prediction()
        with contextlib.closing(SqliteLog(path)) as log:
            log.append([event])

        with contextlib.closing(SqliteLog(path)) as log:
            assert log.read(base.START).events == [event]

    def test_the_journal_is_a_write_ahead_log(self, path: Path) -> None:
        SqliteLog(path).close()

        assert ask(path, "PRAGMA journal_mode") == [("wal",)]

    def test_a_process_durable_log_leaves_syncing_to_the_system(self, log: SqliteLog) -> None:
        # 1 is NORMAL, 2 is FULL (SQLite, PRAGMA synchronous).
        assert log._writer.execute("PRAGMA synchronous").fetchone() == (1,)

    def test_a_log_durable_at_power_loss_syncs_each_commit(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path, durability="power-loss")) as log:
            assert log._writer.execute("PRAGMA synchronous").fetchone() == (2,)

    def test_the_schema_version_is_written_down(self, path: Path) -> None:
        SqliteLog(path).close()

        assert ask(path, "SELECT version FROM coppice_schema") == [(1,), (2,), (3,)]

    def test_a_file_that_is_no_database_is_refused_and_left_alone(self, path: Path) -> None:
        path.write_bytes(b"not a database at all" * 300)

        with pytest.raises(errors.EventLogError, match="not an SQLite file; move it away"):
            SqliteLog(path)
        assert path.read_bytes().startswith(b"not a database")

    def test_a_database_of_somebody_else_is_refused(self, path: Path) -> None:
        change(path, "CREATE TABLE songs (title TEXT)")

        with pytest.raises(errors.EventLogError, match="not an event log; move it away"):
            SqliteLog(path)
        assert ask(path, "SELECT name FROM sqlite_master") == [("songs",)]

    def test_a_log_of_a_newer_schema_is_refused(self, path: Path) -> None:
        SqliteLog(path).close()
        change(path, "INSERT INTO coppice_schema VALUES (99)")

        with pytest.raises(errors.EventLogError, match="schema 99, this version reads 3; upgrade"):
            SqliteLog(path)

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")

        with pytest.raises(errors.EventLogError, match=r"folder .*file.* cannot be made"):
            SqliteLog(tmp_path / "file" / "events.sqlite")

    def test_a_path_that_is_a_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(errors.EventLogError, match="check the path"):
            SqliteLog(tmp_path)


class TestNoRoom:
    def test_a_full_log_says_so(self, path: Path) -> None:
        # 100 events of a page each do not fit into 64 pages.
        with (
            contextlib.closing(SqliteLog(path, max_bytes=64 * PAGE)) as log,
            pytest.raises(errors.LogFull, match="nothing was stored; free space"),
        ):
            log.append(one_page_each(100))

    def test_nothing_of_a_refused_append_is_stored(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path, max_bytes=64 * PAGE)) as log:
            first = events.command()
            log.append([first])
            with contextlib.suppress(errors.LogFull):
                log.append(one_page_each(100))

            assert log.read(base.START).events == [first]
            assert log.integrity() == []

    def test_a_single_event_that_does_not_fit_is_refused_whole(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path, max_bytes=64 * PAGE)) as log:
            with pytest.raises(errors.LogFull):
                log.append([events.padded(events.command(), 100 * PAGE)])

            assert log.end() == base.START

    def test_a_log_that_was_full_works_again_for_what_fits(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path, max_bytes=64 * PAGE)) as log:
            with contextlib.suppress(errors.LogFull):
                log.append(one_page_each(100))
            event = events.command()

            log.append([event])

            assert log.read(base.START).events == [event]

    def test_a_full_log_answers_http_507(self) -> None:
        assert errors.LogFull.http_status == 507

    def test_an_io_error_on_a_full_disk_counts_as_no_room(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A disk with no byte left cannot be had in a test; the system's figure is stood in for.
        monkeypatch.setattr(refusals, "_disk_is_full", lambda _: True)
        cause = sqlite3.OperationalError("disk I/O error")
        cause.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE

        with pytest.raises(errors.LogFull):
            refusals.refuse(path, cause)

    def test_an_io_error_on_a_disk_with_room_names_the_disk(self, path: Path) -> None:
        cause = sqlite3.OperationalError("disk I/O error")
        cause.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE

        with pytest.raises(errors.EventLogError, match="check the disk") as refusal:
            refusals.refuse(path, cause)
        assert not isinstance(refusal.value, errors.LogFull)


class TestLocked:
    def test_a_log_held_by_another_writer_says_what_to_do(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(refusals, "BUSY_SECONDS", 0.01)
        with (
            contextlib.closing(SqliteLog(path)) as log,
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
        ):
            other.execute("BEGIN IMMEDIATE")

            with pytest.raises(errors.EventLogError, match="another process held it"):
                log.append([events.command(), events.command()])

    def test_reading_does_not_wait_for_a_writer(self, path: Path, log: SqliteLog) -> None:
        event = events.command()
        log.append([event])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            assert log.read(base.START).events == [event]

    def test_appending_does_not_wait_for_a_reader(self, path: Path, log: SqliteLog) -> None:
        log.append([events.command()])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM events").fetchall()

            log.append([events.command()])

        assert log.end() == "2"


class TestDamage:
    def test_text_that_is_not_utf8_does_not_hold_up_a_reader(
        self, path: Path, log: SqliteLog
    ) -> None:
        appended = [events.command() for _ in range(5)]
        log.append(appended)
        change(path, "UPDATE events SET source = CAST(X'FF' AS TEXT) WHERE seq = 3")

        batch = log.read(base.START)

        assert [event.id for event in batch.events] == [
            appended[0].id,
            appended[1].id,
            "unreadable-3",
            appended[3].id,
            appended[4].id,
        ]
        assert batch.position == "5"

    def test_what_stands_in_for_an_unreadable_row_does_not_decode(
        self, path: Path, log: SqliteLog
    ) -> None:
        log.append([events.command()])
        change(path, "UPDATE events SET source = CAST(X'FF' AS TEXT)")

        (event,) = log.read(base.START).events

        assert event.type == refusals.UNREADABLE
        with pytest.raises(errors.UndecodableEvent, match="unreadable-1"):
            records.unseal(event)

    def test_a_broken_page_costs_its_own_rows_and_no_others(self, path: Path) -> None:
        appended = one_page_each(30)
        with contextlib.closing(SqliteLog(path)) as log:
            log.append(appended)
        break_page_of(path, b"mark-0010")

        with contextlib.closing(SqliteLog(path)) as log:
            batch = log.read(base.START)

        # Each row fills a page, so the broken page held exactly the row with mark 10, seq 11.
        assert [event.id for event in batch.events] == [
            *(event.id for event in appended[:10]),
            "unreadable-11",
            *(event.id for event in appended[11:]),
        ]

    def test_reading_one_by_one_keeps_the_limit_and_goes_on(self, path: Path) -> None:
        appended = one_page_each(30)
        with contextlib.closing(SqliteLog(path)) as log:
            log.append(appended)
        break_page_of(path, b"mark-0010")

        with contextlib.closing(SqliteLog(path)) as log:
            first = log.read(base.START, limit=12)
            second = log.read(first.position, limit=12)

        assert first.position == "12"
        assert [event.id for event in second.events] == [event.id for event in appended[12:24]]

    def test_integrity_names_a_broken_page_and_what_to_do(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path)) as log:
            log.append(one_page_each(30))
        break_page_of(path, b"mark-0010")

        with contextlib.closing(SqliteLog(path)) as log:
            findings = log.integrity()

        assert findings
        assert all(".recover" in finding for finding in findings)

    def test_integrity_counts_events_of_unknown_types(self, log: SqliteLog) -> None:
        log.append(
            [msgspec.structs.replace(events.command(), type="coppice.x.v9") for _ in range(3)]
        )

        (finding,) = log.integrity()

        assert "3 events have the unknown type 'coppice.x.v9'" in finding

    def test_rows_removed_by_hand_do_not_stop_a_reader(self, path: Path, log: SqliteLog) -> None:
        appended = [events.command() for _ in range(6)]
        log.append(appended)
        change(path, "DELETE FROM events WHERE seq BETWEEN 2 AND 4")

        assert [event.id for event in log.read("1").events] == [e.id for e in appended[4:]]

    def test_a_position_is_never_given_out_twice(self, path: Path, log: SqliteLog) -> None:
        log.append([events.command() for _ in range(3)])
        change(path, "DELETE FROM events")

        log.append([events.command()])

        assert log.end() == "4"


class TestQueries:
    @pytest.mark.parametrize(
        ("query", "values", "index"),
        [
            ("find", ("a", "b"), "events_by_subject (subject=? AND type=?)"),
            ("latest", ("a", "b"), "events_by_model (model=? AND type=?)"),
            ("read", (1, 10), "INTEGER PRIMARY KEY (rowid>?)"),
        ],
    )
    def test_a_query_uses_its_index_and_never_sorts(
        self, log: SqliteLog, query: str, values: tuple[object, ...], index: str
    ) -> None:
        plan = log._reader.execute(f"EXPLAIN QUERY PLAN {log._sql[query]}", values).fetchall()

        assert [row[3] for row in plan] == [
            f"SEARCH events USING {index}".replace("USING events", "USING INDEX events")
        ]


class TestOldFiles:
    """A file of the first schema, made by the statements that made it then."""

    @pytest.fixture
    def old(self, path: Path) -> records.Event:
        event = events.command()
        fields = (event.id, event.type, event.source, event.time, event.subject, event.model)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(queries.named()["journal"])
            connection.executescript(queries.named()["migration_1"])
            connection.execute("INSERT INTO coppice_schema VALUES (1)")
            connection.execute(queries.named()["append"], (*fields, event.data))
        return event

    def test_an_old_file_is_brought_up_to_date_and_keeps_its_events(
        self, path: Path, old: records.Event
    ) -> None:
        with contextlib.closing(SqliteLog(path)) as log:
            assert log.read(base.START).events == [old]
            assert log.readers() == {}
            assert log.integrity() == []
        assert ask(path, "SELECT version FROM coppice_schema") == [(1,), (2,), (3,)]

    @pytest.mark.usefixtures("old")
    def test_opening_it_again_changes_nothing_more(self, path: Path) -> None:
        SqliteLog(path).close()
        SqliteLog(path).close()

        assert ask(path, "SELECT version FROM coppice_schema") == [(1,), (2,), (3,)]

    @pytest.mark.usefixtures("old")
    def test_a_migration_that_fails_leaves_the_old_file_as_it_was(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = {**queries.named(), "migration_2": "CREATE TABLE readers (x); SELECT nonsense"}
        monkeypatch.setattr(queries, "named", lambda: broken)

        with pytest.raises(errors.EventLogError):
            SqliteLog(path)
        assert ask(path, "SELECT version FROM coppice_schema") == [(1,)]
        assert ask(path, "SELECT name FROM sqlite_master WHERE name = 'readers'") == []


class TestReaders:
    def test_a_position_is_kept_when_the_log_is_opened_again(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path)) as log:
            log.mark("monitor", "7")
            log.mark("monitor", "9")
            log.mark("relay", base.START)

        with contextlib.closing(SqliteLog(path)) as log:
            assert log.readers() == {"monitor": "9", "relay": base.START}

    def test_a_forgotten_reader_is_gone(self, log: SqliteLog) -> None:
        log.mark("relay", "7")
        log.forget("relay")

        assert log.readers() == {}


class TestRoom:
    @pytest.mark.parametrize(
        ("cap_pages", "free_pages", "share"),
        [
            # Of some ten pages in use and 90 on the disk nine tenths are free.
            (None, 90, 0.9),
            (None, 0, 0.0),
            # Of a cap of twenty a half; it is what ends first. The disk may end before it, too.
            (20, 90, 0.5),
            (1000, 10, 0.5),
        ],
    )
    def test_the_log_has_the_rest_of_its_cap_or_of_its_disk(
        self,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        cap_pages: int | None,
        free_pages: int,
        share: float,
    ) -> None:
        cap = None if cap_pages is None else cap_pages * PAGE
        with contextlib.closing(SqliteLog(path, max_bytes=cap)) as log:
            log._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert 9 * PAGE <= log.used_bytes() <= 11 * PAGE
            monkeypatch.setattr(
                "shutil.disk_usage", lambda _: SimpleNamespace(free=free_pages * PAGE)
            )
            assert log.room() == pytest.approx(share, abs=0.05)

    def test_a_disk_that_does_not_say_bounds_nothing(
        self, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("shutil.disk_usage", refuse)
        assert log.room() == 1.0

    def test_what_is_stored_takes_room_and_what_is_removed_gives_it_back(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path, max_bytes=100 * PAGE)) as log:
            log.append([events.command(), *(events.padded(events.feedback(), PAGE - 300),) * 1])
            before = log.room()
            large = [events.padded(events.feedback(), 10 * PAGE) for _ in range(5)]
            log.append(large)
            filled = log.room()
            log.remove("2", 7)

            # Five events of ten pages and a little each, of a hundred pages.
            assert 0.50 <= before - filled <= 0.60
            assert log.room() == pytest.approx(before, abs=0.02)


class TestRemoving:
    def test_decisions_and_the_first_event_stay(self, log: SqliteLog) -> None:
        first, decision = events.feedback(), events.command()
        log.append([first, events.feedback(), decision, events.prediction()])

        assert [seq for seq, _ in log.ages(base.START, 10)] == [2, 4]
        assert log.remove(base.START, 4) == 2
        assert log.read(base.START).events == [first, decision]

    def test_only_the_range_that_was_asked_for_goes(self, log: SqliteLog) -> None:
        log.append([events.feedback() for _ in range(6)])

        assert log.remove("2", 4) == 2
        assert log.read("1").position == "6"
        assert len(log.read(base.START).events) == 4


class TestReceiving:
    """What came from Kafka is stored once, with how far it was read, and not sent there again."""

    TOPIC = "coppice.command.v1"

    def test_events_and_offsets_are_committed_together(self, path: Path, log: SqliteLog) -> None:
        event = events.command()

        log.receive([event], {(self.TOPIC, 0): 7})

        with contextlib.closing(SqliteLog(path)) as other:
            assert other.read(base.START).events == [event]
            assert other.consumed() == {(self.TOPIC, 0): 7}

    def test_a_log_that_never_received_has_consumed_nothing(self, log: SqliteLog) -> None:
        log.append([events.command()])

        assert log.consumed() == {}

    def test_of_several_batches_the_last_offset_of_each_partition_stands(
        self, log: SqliteLog
    ) -> None:
        log.receive([], {(self.TOPIC, 0): 7, (self.TOPIC, 1): 2})
        log.receive([], {(self.TOPIC, 0): 9})

        assert log.consumed() == {(self.TOPIC, 0): 9, (self.TOPIC, 1): 2}

    def test_what_does_not_fit_moves_no_offset(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path, max_bytes=64 * PAGE)) as log:
            log.receive([], {(self.TOPIC, 0): 1})
            with pytest.raises(errors.LogFull):
                log.receive(one_page_each(100), {(self.TOPIC, 0): 101})

            assert log.consumed() == {(self.TOPIC, 0): 1}
            assert log.read(base.START).events == []

    def test_an_event_that_comes_twice_is_stored_once(self, log: SqliteLog) -> None:
        event = events.command()
        log.receive([event, event], {(self.TOPIC, 0): 2})
        log.receive([event], {(self.TOPIC, 0): 3})

        assert log.read(base.START).events == [event]

    def test_more_events_than_one_statement_takes_come_in_order(self, log: SqliteLog) -> None:
        # 64 rows share a statement, so these are two.
        received = [events.command() for _ in range(100)]

        log.receive(received, {(self.TOPIC, 0): 100})

        assert log.read(base.START).events == received

    def test_only_what_was_appended_here_is_to_be_relayed(self, log: SqliteLog) -> None:
        first, second, foreign = (events.command() for _ in range(3))
        log.append([first])
        log.receive([foreign], {(self.TOPIC, 0): 1})
        log.append([second])

        assert log.read_local(base.START).events == [first, second]

    def test_an_event_of_our_own_that_comes_back_stays_our_own(self, log: SqliteLog) -> None:
        event = events.command()
        log.append([event])
        log.receive([event], {(self.TOPIC, 0): 1})

        assert log.read_local(base.START).events == [event]

    def test_what_came_from_kafka_is_passed_by_once(self, log: SqliteLog) -> None:
        log.receive([events.command() for _ in range(5)], {(self.TOPIC, 0): 5})

        assert log.read_local(base.START) == base.Batch([], "5")

    def test_a_limit_keeps_the_position_behind_the_last_event_given(self, log: SqliteLog) -> None:
        first, second = events.command(), events.command()
        log.append([first])
        log.receive([events.command()], {(self.TOPIC, 0): 1})
        log.append([second])

        batch = log.read_local(base.START, limit=1)

        assert batch == base.Batch([first], "1")
        assert log.read_local(batch.position, limit=1) == base.Batch([second], "3")

    def test_a_reader_of_an_empty_log_stays_at_the_start(self, log: SqliteLog) -> None:
        assert log.read_local(base.START) == base.Batch([], base.START)

    def test_a_position_never_moves_back_where_events_were_removed(self, log: SqliteLog) -> None:
        log.append([events.prediction(str(number)) for number in range(5)])
        log.remove(base.START, 5)  # all but the first, by which the log is known

        assert log.read_local("5") == base.Batch([], "5")

    def test_a_row_that_cannot_be_read_does_not_hold_up_the_relay(
        self, path: Path, log: SqliteLog
    ) -> None:
        appended = [events.command() for _ in range(3)]
        log.append(appended)
        change(path, "UPDATE events SET source = CAST(X'FF' AS TEXT) WHERE seq = 2")

        assert log.read_local(base.START) == base.Batch([appended[0], appended[2]], "3")

    def test_the_backlog_counts_what_was_appended_here(self, log: SqliteLog) -> None:
        event = events.padded(events.command(), 10)
        log.append([events.command()])
        log.receive([events.command()], {(self.TOPIC, 0): 1})
        log.append([event])

        assert log.backlog("1") == base.Backlog(1, 10, events.NOW)
        assert log.backlog("3") == base.Backlog(0, 0, None)


def test_a_log_of_the_last_schema_is_brought_up_to_date(path: Path) -> None:
    event = events.command()
    with contextlib.closing(SqliteLog(path)) as log:
        log.append([event])
    # What the third migration made is taken away again.
    change(
        path,
        "ALTER TABLE events DROP COLUMN from_kafka",
        "DROP TABLE consumed",
        "DELETE FROM coppice_schema WHERE version = 3",
    )

    with contextlib.closing(SqliteLog(path)) as log:
        log.receive([events.command()], {("coppice.command.v1", 0): 1})

        assert log.read_local(base.START).events == [event]


class TestAtOnce:
    def test_events_are_committed_for_every_reader(self, log: SqliteLog, path: Path) -> None:
        stored = [events.command(), events.command()]

        assert log.append_at_once(stored)

        with contextlib.closing(SqliteLog(path)) as other:
            assert other.read(base.START).events == stored

    def test_while_another_process_writes_it_declines_instead_of_waiting(
        self, log: SqliteLog, path: Path
    ) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            assert not log.append_at_once([events.command()])

        assert log.append_at_once([events.command()])

    def test_what_does_not_fit_under_the_cap_is_declined_whole(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path, max_bytes=64 * PAGE)) as log:
            assert not log.append_at_once([events.padded(events.command(), 100 * PAGE)])

            assert log.end() == base.START

    def test_more_events_than_one_statement_takes_are_declined(self, log: SqliteLog) -> None:
        assert not log.append_at_once([events.command() for _ in range(65)])

    def test_a_log_that_waits_for_the_disk_declines(self, path: Path) -> None:
        with contextlib.closing(SqliteLog(path, durability="power-loss")) as log:
            assert not log.append_at_once([events.command()])

    def test_a_closed_log_declines(self, path: Path) -> None:
        log = SqliteLog(path)
        log.close()

        assert not log.append_at_once([events.command()])
