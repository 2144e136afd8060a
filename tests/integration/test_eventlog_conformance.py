"""What every event log must do, whatever it is made of.

A new implementation adds itself to `OPENERS`, and to `SHARED` where several processes may use it.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from coppice import errors, records
from coppice.eventlog import base
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.sqlite import SqliteLog
from tests.support import events

Log: TypeAlias = MemoryLog | SqliteLog

APPENDER = Path(__file__).parents[1] / "support" / "appender.py"

OPENERS: dict[str, Callable[[Path], Log]] = {
    "memory": lambda _: MemoryLog(),
    "sqlite": lambda folder: SqliteLog(folder / "events.sqlite"),
    "sqlite-power-loss": lambda folder: SqliteLog(
        folder / "events.sqlite", durability="power-loss"
    ),
}


@pytest.fixture(params=sorted(OPENERS))
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    opened = OPENERS[request.param](tmp_path)
    with contextlib.closing(opened):
        yield opened


def ids(batch: base.Batch) -> list[str]:
    return [event.id for event in batch.events]


def read_all(log: base.EventLog, *, after: str = base.START, limit: int = 7) -> list[str]:
    """Follow a log to its end in small steps, as a consumer does."""
    found: list[str] = []
    while (batch := log.read(after, limit)).events:
        found += ids(batch)
        after = batch.position
    return found


class TestReading:
    def test_an_empty_log_has_no_events_and_ends_at_the_start(self, log: Log) -> None:
        assert log.read(base.START) == base.Batch([], base.START)
        assert log.end() == base.START

    def test_an_event_comes_back_as_it_was_appended(self, log: Log) -> None:
        event = events.prediction()

        log.append([event])

        assert log.read(base.START).events == [event]

    def test_events_come_in_the_order_in_which_they_were_committed(self, log: Log) -> None:
        # Ids are not sorted, so an order by id would show.
        batches = [[events.command()], [events.prediction(), events.feedback()]]
        expected = [event.id for batch in reversed(batches) for event in batch]

        log.append(batches[1])
        log.append(batches[0])

        assert ids(log.read(base.START)) == expected

    def test_reading_goes_on_behind_a_position(self, log: Log) -> None:
        first, second, third = (events.command() for _ in range(3))
        log.append([first, second])

        position = log.read(base.START).position
        log.append([third])

        assert ids(log.read(position)) == [third.id]

    def test_a_limit_cuts_a_batch_and_nothing_is_lost(self, log: Log) -> None:
        appended = [events.command() for _ in range(20)]
        log.append(appended)

        assert len(log.read(base.START, limit=3).events) == 3
        assert read_all(log, limit=3) == [event.id for event in appended]

    def test_the_end_is_the_position_behind_the_last_event(self, log: Log) -> None:
        log.append([events.command(), events.command()])

        assert log.end() == log.read(base.START).position
        assert log.read(log.end()) == base.Batch([], log.end())

    def test_a_reader_without_news_stays_where_it_is(self, log: Log) -> None:
        log.append([events.command()])
        position = log.end()

        assert log.read(position).position == position

    @pytest.mark.parametrize("position", ["x", "-1", "1.5", "٣"])
    def test_a_position_that_no_log_gave_out_is_refused(self, log: Log, position: str) -> None:
        with pytest.raises(errors.EventLogError, match="is not a position"):
            log.read(position)


class TestAppending:
    def test_nothing_to_append_is_no_error(self, log: Log) -> None:
        log.append([])

        assert log.end() == base.START

    def test_a_repeated_id_is_passed_over_and_the_first_event_stands(self, log: Log) -> None:
        event = events.command("pause")
        log.append([event])

        log.append([events.padded(event, 10)])

        assert log.read(base.START).events == [event]

    def test_a_repeated_id_within_one_append_is_stored_once(self, log: Log) -> None:
        event, other = events.command(), events.command()

        log.append([event, event, other])

        assert ids(log.read(base.START)) == [event.id, other.id]

    def test_a_repeated_id_does_not_keep_the_rest_of_its_batch_out(self, log: Log) -> None:
        known, fresh = events.command(), events.command()
        log.append([known])

        log.append([known, fresh])

        assert ids(log.read(base.START)) == [known.id, fresh.id]

    def test_an_event_of_an_unknown_type_is_stored_and_does_not_hold_up_readers(
        self, log: Log
    ) -> None:
        newer = records.Event("id-1", "coppice.future.v9", "tests", 0.0, "s", "m", b"\xff")
        known = events.command()

        log.append([newer, known])

        assert log.read(base.START).events == [newer, known]

    def test_threads_append_at_once_and_lose_nothing(self, log: Log) -> None:
        appended = [[events.command() for _ in range(25)] for _ in range(4)]
        threads = [
            threading.Thread(target=lambda mine=mine: [log.append([event]) for event in mine])
            for mine in appended
        ]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(read_all(log)) == sorted(event.id for mine in appended for event in mine)


class TestLookingUp:
    def test_find_gives_the_events_of_one_kind_about_one_subject(self, log: Log) -> None:
        wanted = events.prediction("a")
        log.append([wanted, events.feedback("a"), events.prediction("b")])

        assert log.find("a", records.Prediction) == [wanted]

    def test_find_gives_the_oldest_first(self, log: Log) -> None:
        first, second = events.feedback("a"), events.feedback("a")
        log.append([second])
        log.append([first])

        assert log.find("a", records.Feedback) == [second, first]

    def test_find_gives_nothing_for_an_unknown_subject(self, log: Log) -> None:
        log.append([events.prediction("a")])

        assert log.find("b", records.Prediction) == []

    def test_latest_is_the_newest_of_its_model_and_kind(self, log: Log) -> None:
        newest = events.command("resume", model="a")
        log.append([events.command("pause", model="a"), newest])
        log.append([events.command(model="b"), events.prediction(model="a")])

        assert log.latest("a", records.Command) == newest

    def test_latest_is_none_where_there_is_nothing(self, log: Log) -> None:
        log.append([events.command(model="a")])

        assert log.latest("b", records.Command) is None
        assert log.latest("a", records.Rollout) is None


class TestNewest:
    def test_the_newest_come_oldest_first(self, log: Log) -> None:
        appended = [events.command() for _ in range(5)]
        log.append(appended)

        assert log.newest(2) == appended[-2:]

    def test_one_kind_is_found_behind_others(self, log: Log) -> None:
        wanted = events.command()
        log.append([wanted, *(events.prediction(str(number)) for number in range(20))])

        assert log.newest(3, records.Command) == [wanted]

    def test_an_empty_log_has_none(self, log: Log) -> None:
        assert log.newest(3) == []


class TestReaders:
    def test_a_reader_is_known_by_its_last_position_until_it_is_forgotten(self, log: Log) -> None:
        log.append([events.command(), events.command()])
        log.mark("relay", base.START)
        log.mark("relay", log.end())
        log.mark("monitor", base.START)

        assert log.readers() == {"monitor": base.START, "relay": log.end()}
        log.forget("relay")
        assert log.readers() == {"monitor": base.START}

    def test_a_reader_stands_only_where_the_log_has_a_position(self, log: Log) -> None:
        with pytest.raises(errors.EventLogError, match="is not a position"):
            log.mark("relay", "x")


class TestClosing:
    def test_a_closed_log_refuses_to_append(self, log: Log) -> None:
        log.close()

        with pytest.raises(errors.EventLogError, match="closed"):
            log.append([events.command()])

    def test_a_closed_log_refuses_to_read(self, log: Log) -> None:
        log.close()

        with pytest.raises(errors.EventLogError, match="closed"):
            log.read(base.START)

    def test_closing_twice_is_no_error(self, log: Log) -> None:
        log.close()
        log.close()

    def test_a_healthy_log_has_no_findings(self, log: Log) -> None:
        log.append([events.command(), events.prediction()])

        assert log.integrity() == []


def appender(path: Path, name: str, count: int, batch: int, *more: int) -> subprocess.Popen[str]:
    """Start a process that appends once `go` is called."""
    arguments = [str(argument) for argument in (path, name, count, batch, *more)]
    process = subprocess.Popen(
        [sys.executable, str(APPENDER), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sqlite"


class TestSeveralProcesses:
    """SQLite only: memory ends at the process."""

    def test_a_reader_skips_nothing_while_two_processes_append(self, path: Path) -> None:
        writers = [appender(path, name, 400, 4) for name in ("a", "b")]
        seen: list[str] = []
        position = base.START

        with contextlib.closing(SqliteLog(path)) as log:
            for writer in writers:
                go(writer)
            while any(writer.poll() is None for writer in writers):
                batch = log.read(position, limit=50)
                seen += ids(batch)
                position = batch.position
            seen += read_all(log, after=position, limit=50)
            stored = read_all(log, limit=1000)

        for writer in writers:
            writer.communicate()
        assert seen == stored
        # Each writer's own events are in the order in which it committed them.
        assert [one for one in seen if one.startswith("a-")] == [f"a-{n}" for n in range(400)]
        assert [one for one in seen if one.startswith("b-")] == [f"b-{n}" for n in range(400)]

    def test_events_of_one_process_are_seen_by_another_that_has_the_log_open(
        self, path: Path
    ) -> None:
        with contextlib.closing(SqliteLog(path)) as log:
            log.append([events.command()])
            position = log.end()
            writer = appender(path, "a", 2, 1)
            writer.communicate("go\n")

            assert ids(log.read(position)) == ["a-0", "a-1"]

    @pytest.mark.parametrize("kill_after", [1, 40, 200])
    def test_every_event_acknowledged_before_a_kill_is_stored(
        self, path: Path, kill_after: int
    ) -> None:
        writer = appender(path, "a", 100_000, 1)
        assert writer.stdout is not None
        go(writer)
        acknowledged = [writer.stdout.readline().strip() for _ in range(kill_after)]

        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().split()
        writer.communicate()

        with contextlib.closing(SqliteLog(path)) as log:
            stored = read_all(log, limit=1000)
            assert log.integrity() == []
        # The last commit may have been killed between the disk and its acknowledgement.
        assert len(acknowledged) <= len(stored) <= len(acknowledged) + 1
        assert stored[: len(acknowledged)] == acknowledged

    def test_processes_that_open_a_new_log_at_the_same_moment_all_succeed(self, path: Path) -> None:
        arguments = [str(path), "x", "0", "1"]
        processes = [
            subprocess.Popen(
                [sys.executable, str(APPENDER), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]

        answers = [process.communicate("go\n") for process in processes]

        assert answers == [("ready\n", "")] * 4

    def test_a_write_that_the_system_refuses_loses_nothing_that_was_acknowledged(
        self, path: Path
    ) -> None:
        # No file may grow beyond 1 MiB, which the write-ahead log soon does.
        writer = appender(path, "a", 10_000, 1, 2**20)

        *acknowledged, refusal = writer.communicate("go\n")[0].split()

        assert refusal == "LogFull"
        assert len(acknowledged) > 10
        with contextlib.closing(SqliteLog(path)) as log:
            assert read_all(log, limit=1000) == acknowledged
            assert log.integrity() == []
