"""What may be removed from the log, and what never is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from coppice import clock, errors, records, settings
from coppice.eventlog import base, retention
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.retention import Rules
from coppice.eventlog.sqlite import SqliteLog
from coppice.testing import ManualClock
from tests.support import events, serving

AGES = [(2, 10.0), (3, 20.0), (5, 30.0)]
BY_AGE = Rules(max_age_seconds=100.0)
BY_SIZE = Rules(max_bytes=1000)


class TestPlan:
    @pytest.mark.parametrize(
        ("now", "last"),
        [
            (110.0, None),  # the oldest is 100 s old, which is not older
            (111.0, 2),
            (125.0, 3),
            (999.0, 5),
        ],
    )
    def test_what_is_too_old_goes(self, now: float, last: int | None) -> None:
        assert retention.plan(AGES, 0, 9, BY_AGE, now) == last

    def test_an_event_of_a_clock_that_was_ahead_holds_up_none_behind_it(self) -> None:
        # At 100 s the first is of a time to come; it goes with the next one that is too old.
        ages = [(1, 5000.0), (2, 10.0), (3, 5000.0), (4, 99.0), (5, 10.0)]
        rules = Rules(max_age_seconds=60.0)
        assert retention.plan(ages, 0, 9, rules, now=100.0) == 2
        assert retention.plan(ages[2:3], 0, 9, rules, now=100.0) is None

    def test_what_a_reader_has_not_read_stays_however_old(self) -> None:
        assert retention.plan(AGES, 0, 3, BY_AGE, 999.0) == 3
        assert retention.plan(AGES, 0, 1, BY_AGE, 999.0) is None

    def test_above_the_size_the_oldest_go_whatever_their_age(self) -> None:
        assert retention.plan(AGES, 1001, 9, BY_SIZE, 0.0) == 5
        assert retention.plan(AGES, 1000, 9, BY_SIZE, 0.0) is None

    def test_size_does_not_pass_a_reader_either(self) -> None:
        assert retention.plan(AGES, 10**9, 2, BY_SIZE, 0.0) == 2

    def test_without_rules_nothing_goes(self) -> None:
        assert retention.plan(AGES, 10**12, 9, Rules(), 10**9) is None
        assert not Rules().bounded


class TestFloor:
    def test_the_slowest_reader_decides(self) -> None:
        assert retention.floor({"a": "9", "b": "4"}, frozenset({"a"})) == 4

    def test_a_reader_at_the_start_keeps_everything(self) -> None:
        assert retention.floor({"a": "9", "b": base.START}, frozenset()) == 0

    def test_a_reader_that_must_be_there_and_is_not_keeps_everything(self) -> None:
        assert retention.floor({"b": "4"}, frozenset({"a", "b"})) == 0

    def test_nobody_has_read_nothing(self) -> None:
        assert retention.floor({}, frozenset()) == 0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with contextlib.closing(SqliteLog(tmp_path / "events.sqlite")) as opened:
        yield opened


def at(second: float, event: records.Event) -> records.Event:
    return msgspec.structs.replace(event, time=second)


def times(log: SqliteLog) -> list[float]:
    return [event.time for event in log.read(base.START, 10_000).events]


class TestRetention:
    def test_old_events_go_once_they_were_read_and_decisions_stay(self, log: SqliteLog) -> None:
        # Seconds 0 to 9, of which second 4 is a decision; at 106 s those before 6 s are too old.
        log.append([at(n, events.feedback()) for n in range(4)])
        log.append([at(4, events.command())])
        log.append([at(n, events.feedback()) for n in range(5, 10)])
        log.mark("monitor", log.end())

        removed = retention.Retention(log, BY_AGE, ManualClock(now=106.0)).turn()

        assert removed == 4
        assert times(log) == [0.0, 4.0, 6.0, 7.0, 8.0, 9.0]

    def test_nothing_goes_before_the_monitor_has_left_a_position(self, log: SqliteLog) -> None:
        log.append([at(0, events.feedback()) for _ in range(5)])

        assert retention.Retention(log, BY_AGE, ManualClock(now=10**6)).turn() == 0

    def test_a_reader_that_lags_keeps_what_it_has_not_read(self, log: SqliteLog) -> None:
        log.append([at(n, events.feedback()) for n in range(6)])
        log.mark("monitor", "6")
        log.mark("relay", "3")
        keeper = retention.Retention(log, BY_AGE, ManualClock(now=10**6))

        keeper.turn()

        assert times(log) == [0.0, 3.0, 4.0, 5.0]
        log.forget("relay")
        keeper.turn()
        assert times(log) == [0.0]

    def test_a_log_that_is_too_large_shrinks_chunk_by_chunk_below_its_bound(
        self, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "CHUNK", 10)
        log.append([events.padded(events.feedback(), 4000) for _ in range(300)])
        log.mark("monitor", log.end())
        bound = log.used_bytes() // 2

        keeper = retention.Retention(log, Rules(max_bytes=bound), ManualClock())
        removed = keeper.turn()

        # Half of 300, rounded up to whole chunks of 10, and a little for the empty file's pages.
        assert 140 <= removed <= 170
        assert log.used_bytes() <= bound
        assert keeper.turn() == 0

    def test_a_position_behind_removed_events_still_reads_on(self, log: SqliteLog) -> None:
        log.append([at(n, events.feedback()) for n in range(6)])
        log.mark("monitor", "6")
        retention.Retention(log, BY_AGE, ManualClock(now=10**6)).turn()
        log.append([at(7, events.feedback())])

        assert [event.time for event in log.read("3").events] == [7.0]


def tree(folder: Path, **events: object) -> settings.Settings:
    return settings.from_tree({"project": {"name": "tiny"}, "events": events}, root=folder)


class TestRunning:
    def test_without_settings_no_thread_runs(self, log: SqliteLog, tmp_path: Path) -> None:
        with retention.running(log, tree(tmp_path)):
            assert "retention" not in [thread.name for thread in threading.enumerate()]

    def test_with_settings_old_events_are_gone_by_the_end(
        self, log: SqliteLog, tmp_path: Path
    ) -> None:
        log.append([at(n, events.feedback()) for n in range(6)])
        log.mark("monitor", log.end())

        with retention.running(log, tree(tmp_path, retention_days=1.0)):
            serving.wait_until(lambda: len(times(log)) < 6)

        # The first event stays: it is what the log is known by.
        assert times(log) == [0.0]

    def test_a_log_in_memory_is_left_alone(self, tmp_path: Path) -> None:
        log = MemoryLog()
        with retention.running(log, tree(tmp_path, retention_days=1.0)):
            assert log.readers() == {}

    def test_an_error_does_not_end_the_thread(self, log: SqliteLog) -> None:
        turns: list[int] = []
        done = threading.Event()

        class Failing(retention.Retention):
            def turn(self) -> int:
                turns.append(1)
                done.set()
                raise errors.EventLogError

        retention._keep(Failing(log, BY_AGE, ManualClock()), done)

        assert turns == [1]


class TestRules:
    def test_days_become_seconds(self, tmp_path: Path) -> None:
        found = Rules.of(tree(tmp_path, retention_days=2.0, retention_bytes=2**20))

        assert found == Rules(172_800.0, 2**20, frozenset({"monitor"}))

    def test_monitors_that_share_their_work_leave_no_mark_and_keep_nothing(
        self, tmp_path: Path
    ) -> None:
        tables = {
            "project": {"name": "tiny"},
            "events": {"backend": "kafka"},
            "kafka": {"servers": "k:9092"},
            "monitor": {"group": "monitors"},
        }

        assert Rules.of(settings.from_tree(tables, root=tmp_path)).required == {"relay"}


def joined_by_kafka(folder: Path, **events: object) -> settings.Settings:
    tables = {"events": {"backend": "kafka", **events}, "kafka": {"servers": "k:9092"}}
    return settings.from_tree({"project": {"name": "tiny"}, **tables}, root=folder)


class TestWithKafka:
    def test_the_relay_must_have_read_the_log_too(self, tmp_path: Path) -> None:
        assert Rules.of(joined_by_kafka(tmp_path)).required == {"monitor", "relay"}

    def test_only_the_relay_reads_the_servers_outbox(self, tmp_path: Path) -> None:
        rules = Rules.of_outbox(joined_by_kafka(tmp_path, retention_bytes=2**20))

        assert rules == Rules(None, 2**20, frozenset({"relay"}))

    def test_an_outbox_is_kept_small_once_it_was_relayed(
        self, log: SqliteLog, tmp_path: Path
    ) -> None:
        rules = Rules.of_outbox(joined_by_kafka(tmp_path, retention_days=1.0))
        log.append([events.command(), events.prediction("a"), events.prediction("b")])
        log.mark("relay", "2")

        # NOW lies years back, so only what was not relayed stays.
        assert retention.Retention(log, rules, clock.SystemClock()).turn() == 1
        assert log.find("a", records.Prediction) == []
        assert len(log.find("b", records.Prediction)) == 1
