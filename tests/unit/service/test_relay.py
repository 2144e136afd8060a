from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from coppice import errors, records
from coppice.eventlog import base
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.sqlite import SqliteLog
from coppice.testing import ManualClock
from service import relay, relay_plan
from service.relay import Cluster, Relay
from service.relay_recorder import Recorder
from tests.support import events


class Broken(MemoryLog):
    """A shared log that refuses what a rule says."""

    def __init__(self, refuse: Callable[[Sequence[records.Event]], Exception | None]) -> None:
        super().__init__()
        self.calls: list[list[records.Event]] = []
        self._refuse = refuse

    def append(self, events: Sequence[records.Event]) -> None:
        self.calls.append(list(events))
        problem = self._refuse(events)
        if problem is not None:
            raise problem
        super().append(events)


class Full(SqliteLog):
    """A local log whose disk is full; nothing can be marked any more."""

    def mark(self, reader: str, position: base.Position) -> None:
        del reader, position
        raise errors.LogFull


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "outbox.sqlite")
    yield log
    log.close()


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "events.sqlite")
    yield log
    log.close()


def made(
    shared: base.EventLog,
    sources: dict[str, relay.Source],
    *,
    there: Callable[[], bool] = lambda: True,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Relay, Recorder, ManualClock]:
    recorder, clock = Recorder("digits"), ManualClock(now=events.NOW + 60.0)
    cluster = Cluster(reachable=there, connect=lambda: shared, deadline_seconds=30.0)
    return (
        Relay(sources, cluster, recorder=recorder, clock=clock, stop=stop),
        recorder,
        clock,
    )


def shown(recorder: Recorder, name: str, **labels: str) -> float | None:
    return recorder.registry.get_sample_value(name, {"model": "digits", **labels})


def too_large(limit: int) -> Callable[[Sequence[records.Event]], Exception | None]:
    return lambda appended: (
        errors.EventTooLarge() if any(len(event.data) > limit for event in appended) else None
    )


def nothing(appended: Sequence[records.Event]) -> None:
    del appended


def after(turns: int) -> Callable[[], bool]:
    """Return a wish to stop that comes up after so many questions."""
    answers = iter([False] * turns)
    return lambda: next(answers, True)


class TestSending:
    def test_events_of_both_logs_arrive_in_their_order(
        self, outbox: SqliteLog, replica: SqliteLog
    ) -> None:
        served = [events.prediction("a"), events.feedback("a")]
        judged = [events.command("pause"), events.command("resume")]
        outbox.append(served)
        replica.append(judged)
        shared = MemoryLog()
        made(shared, {"outbox": outbox, "events": replica})[0].turn()

        assert shared.read(base.START).events == [*served, *judged]

    def test_a_relay_that_runs_once_ends_when_nothing_waits(
        self, outbox: SqliteLog, replica: SqliteLog
    ) -> None:
        outbox.append([events.prediction(str(each)) for each in range(300)])
        replica.append([events.command("pause")])
        relaying, recorder, _ = made(MemoryLog(), {"outbox": outbox, "events": replica})
        relaying.drain()

        assert shown(recorder, "coppice_relay_events_total") == 301

    def test_a_relay_that_runs_once_waits_for_a_broker(self, outbox: SqliteLog) -> None:
        outbox.append([events.feedback()])
        answers = iter([False, False, True])
        relaying, recorder, _ = made(MemoryLog(), {"outbox": outbox}, there=lambda: next(answers))
        relaying.drain()

        assert shown(recorder, "coppice_relay_events_total") == 1

    def test_a_relay_that_runs_once_heeds_a_wish_to_stop(self, outbox: SqliteLog) -> None:
        outbox.append([events.feedback()])
        made(MemoryLog(), {"outbox": outbox}, there=lambda: False, stop=after(5))[0].drain()

        assert outbox.backlog(base.START).events == 1

    def test_what_came_from_kafka_is_not_sent_there_again(self, replica: SqliteLog) -> None:
        own = events.command()
        replica.receive([events.prediction("a")], {("t", 0): 1})
        replica.append([own])
        replica.receive([events.prediction("b")], {("t", 0): 2})
        shared = MemoryLog()
        made(shared, {"events": replica})[0].turn()

        assert shared.read(base.START).events == [own]

    def test_a_turn_says_whether_there_was_anything(self, outbox: SqliteLog) -> None:
        relaying, _, _ = made(MemoryLog(), {"outbox": outbox})
        assert not relaying.turn()
        outbox.append([events.feedback()])
        assert relaying.turn()
        assert not relaying.turn()

    def test_batches_begin_small_and_grow(self, outbox: SqliteLog) -> None:
        outbox.append([events.feedback(f"request-{number}") for number in range(20)])
        shared = Broken(nothing)
        relaying, _, _ = made(shared, {"outbox": outbox})
        relaying.turn()
        relaying.turn()
        relaying.turn()

        # 4, twice 4, and the 8 that are left.
        assert relay_plan.FIRST == 4
        assert [len(call) for call in shared.calls] == [4, 8, 8]

    def test_events_about_one_request_are_acknowledged_one_after_another(
        self, outbox: SqliteLog
    ) -> None:
        first, second = events.feedback("a"), events.feedback("a")
        outbox.append([first, second])
        shared = Broken(nothing)
        made(shared, {"outbox": outbox})[0].turn()

        assert shared.calls == [[first], [second]]


class TestMarking:
    def test_the_mark_lies_behind_what_was_acknowledged(self, outbox: SqliteLog) -> None:
        outbox.append([events.feedback(name) for name in "abc"])
        made(MemoryLog(), {"outbox": outbox})[0].turn()

        assert outbox.readers() == {"relay": outbox.end()}

    def test_a_new_log_is_marked_at_its_start_so_that_nothing_is_removed_unsent(
        self, outbox: SqliteLog
    ) -> None:
        outbox.append([events.feedback()])
        made(MemoryLog(), {"outbox": outbox}, there=lambda: False)[0].turn()

        assert outbox.readers() == {"relay": base.START}

    def test_a_relay_goes_on_where_the_last_one_marked(self, outbox: SqliteLog) -> None:
        outbox.append([events.feedback("a")])
        made(MemoryLog(), {"outbox": outbox})[0].turn()
        later = events.feedback("b")
        outbox.append([later])
        shared = MemoryLog()
        made(shared, {"outbox": outbox})[0].turn()

        assert shared.read(base.START).events == [later]

    def test_what_came_from_kafka_is_marked_too_so_that_it_may_be_removed(
        self, replica: SqliteLog
    ) -> None:
        replica.receive([events.prediction("a")], {("t", 0): 1})
        relaying, _, clock = made(MemoryLog(), {"events": replica})
        relaying.turn()
        clock.advance(relay_plan.LOOK_SECONDS)
        relaying.turn()

        assert replica.readers() == {"relay": replica.end()}

    def test_a_missed_deadline_leaves_the_mark_and_the_whole_batch_is_repeated(
        self, outbox: SqliteLog
    ) -> None:
        appended = [events.feedback("a"), events.feedback("a")]
        outbox.append(appended)
        late = Broken(
            lambda batch: errors.EventLogError("late") if batch[0].id == appended[1].id else None
        )
        with pytest.raises(errors.RelayStuck, match="late; the relay ends"):
            made(late, {"outbox": outbox})[0].turn()

        assert outbox.readers() == {"relay": base.START}
        healed = MemoryLog()
        made(healed, {"outbox": outbox})[0].turn()
        assert healed.read(base.START).events == appended

    def test_a_log_that_cannot_be_marked_is_sent_on_all_the_same(self, tmp_path: Path) -> None:
        before = SqliteLog(tmp_path / "full.sqlite")
        before.mark("relay", base.START)
        before.append([events.feedback(f"request-{number}") for number in range(6)])
        before.close()
        full = Full(tmp_path / "full.sqlite")
        shared = Broken(nothing)
        relaying, recorder, _ = made(shared, {"outbox": full})
        relaying.turn()
        relaying.turn()
        full.close()

        # 4 and 2: the second batch is not the first one again.
        assert [len(call) for call in shared.calls] == [4, 2]
        assert shown(recorder, "coppice_relay_log_failures_total") == 2

    def test_a_log_that_cannot_be_read_holds_up_no_other(
        self, outbox: SqliteLog, replica: SqliteLog
    ) -> None:
        replica.append([events.command()])
        shared = MemoryLog()
        relaying, recorder, _ = made(shared, {"outbox": outbox, "events": replica})
        outbox.close()
        relaying.turn()

        assert len(shared.read(base.START).events) == 1
        # The count of what waits, and the read.
        assert shown(recorder, "coppice_relay_log_failures_total") == 2


class TestLargeEvents:
    def test_a_prediction_that_is_too_large_goes_without_its_inputs(
        self, outbox: SqliteLog
    ) -> None:
        large = prediction_with_inputs(1000)
        outbox.append([events.feedback("a"), large, events.feedback("b")])
        shared = Broken(too_large(1000))
        relaying, recorder, _ = made(shared, {"outbox": outbox})
        relaying.turn()

        _, found, _ = shared.read(base.START).events
        record = records.unseal(found)
        assert isinstance(record, records.Prediction)
        assert (found.id, record.inputs) == (large.id, {})
        assert list(record.outputs) == ["scores"]
        assert shown(recorder, "coppice_relay_inputs_dropped_total") == 1
        assert shown(recorder, "coppice_relay_events_total") == 3

    @pytest.mark.parametrize(
        "large", [events.padded(events.feedback(), 1001), events.padded(events.prediction(), 1001)]
    )
    def test_anything_else_is_passed_over_and_counted(
        self, outbox: SqliteLog, large: records.Event
    ) -> None:
        behind = events.feedback("behind")
        outbox.append([large, behind])
        shared = Broken(too_large(1000))
        relaying, recorder, _ = made(shared, {"outbox": outbox})
        relaying.turn()

        assert shared.read(base.START).events == [behind]
        assert shown(recorder, "coppice_relay_refused_total") == 1
        assert outbox.readers() == {"relay": outbox.end()}


def prediction_with_inputs(values: int) -> records.Event:
    record = records.unseal(events.prediction("large"))
    assert isinstance(record, records.Prediction)
    inputs = {"pixels": records.Tensor.of(np.zeros((1, values), dtype=np.float32))}
    full = msgspec.structs.replace(record, inputs=inputs)
    return records.seal(full, source="tests", now=events.NOW)


class TestWaiting:
    def test_no_client_is_made_before_a_broker_is_there(self, outbox: SqliteLog) -> None:
        outbox.append([events.feedback()])
        answers = iter([False, False, True])
        shared = MemoryLog()
        relaying, recorder, _ = made(shared, {"outbox": outbox}, there=lambda: next(answers))

        assert not relaying.turn()
        assert not relaying.turn()
        assert shown(recorder, "coppice_relay_waiting") == 1
        assert relaying.turn()
        assert shown(recorder, "coppice_relay_waiting") == 0

    def test_a_client_that_cannot_be_made_ends_the_relay(self, outbox: SqliteLog) -> None:
        def connect() -> base.EventLog:
            message = "no such mechanism"
            raise errors.EventLogError(message)

        cluster = Cluster(reachable=lambda: True, connect=connect, deadline_seconds=30.0)
        relaying = Relay(
            {"outbox": outbox},
            cluster,
            recorder=Recorder("digits"),
            clock=ManualClock(),
            stop=lambda: False,
        )
        with pytest.raises(errors.RelayStuck, match="no such mechanism; the relay ends"):
            relaying.turn()

    def test_it_asks_after_growing_pauses(self, outbox: SqliteLog) -> None:
        asked: list[float] = []

        def there() -> bool:
            asked.append(clock.monotonic())
            return False

        relaying, _, clock = made(
            MemoryLog(),
            {"outbox": outbox},
            there=there,
            stop=lambda: clock.monotonic() >= 13.0,
        )
        relaying.run()

        # Pauses of 0.25, 0.5, 1, 2, 4 and 5 seconds.
        assert asked == pytest.approx([0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 12.75])

    def test_what_waits_is_counted_meanwhile(self, outbox: SqliteLog) -> None:
        relaying, recorder, clock = made(MemoryLog(), {"outbox": outbox}, there=lambda: False)
        relaying.turn()
        outbox.append([events.feedback("a"), events.feedback("b")])
        relaying.turn()
        assert shown(recorder, "coppice_relay_backlog", log="outbox") == 0
        clock.advance(relay_plan.LOOK_SECONDS)
        relaying.turn()

        assert shown(recorder, "coppice_relay_backlog", log="outbox") == 2
        # Sealed 60 s before the clock's start, which has gone on for 5 s.
        assert shown(recorder, "coppice_relay_backlog_seconds", log="outbox") == 65.0


class TestEnding:
    def test_it_ends_when_asked_and_lets_go_of_the_cluster(self, outbox: SqliteLog) -> None:
        shared = MemoryLog()
        made(shared, {"outbox": outbox}, stop=after(3))[0].run()

        with pytest.raises(errors.EventLogError, match="closed"):
            shared.read(base.START)

    def test_the_batch_in_hand_is_finished_and_marked(self, outbox: SqliteLog) -> None:
        outbox.append([events.feedback("a"), events.feedback("a")])
        asked = iter([False, False])
        shared = MemoryLog()
        made(shared, {"outbox": outbox}, stop=lambda: next(asked, True))[0].run()

        assert outbox.backlog(outbox.readers()["relay"]).events == 0

    def test_what_waits_at_the_end_is_sent_before_it_ends(
        self, outbox: SqliteLog, replica: SqliteLog
    ) -> None:
        relaying, recorder, _ = made(
            MemoryLog(), {"outbox": outbox, "events": replica}, stop=after(3)
        )
        relaying.turn()
        # Several batches: the first ones are small.
        outbox.append([events.prediction(str(each)) for each in range(2000)])
        replica.append([events.command("pause")])
        relaying.run()

        assert shown(recorder, "coppice_relay_events_total") == 2001
        assert outbox.backlog(outbox.readers()["relay"]).events == 0

    def test_who_goes_on_writing_does_not_keep_it(self, outbox: SqliteLog) -> None:
        shared = Broken(lambda _: outbox.append([events.feedback("later")]))
        relaying, _, _ = made(shared, {"outbox": outbox}, stop=lambda: True)
        relaying.turn()
        outbox.append([events.feedback(), events.feedback("b")])
        relaying.run()

        # Both of the end in one batch, and what came meanwhile stays for the next relay.
        assert [len(each) for each in shared.calls] == [2]
        assert outbox.backlog(outbox.readers()["relay"]).events == 1

    def test_at_the_end_no_broker_is_waited_for(self, outbox: SqliteLog) -> None:
        answers = iter([True])
        relaying, _, _ = made(
            MemoryLog(), {"outbox": outbox}, there=lambda: next(answers, False), stop=lambda: True
        )
        relaying.turn()
        outbox.append([events.feedback()])
        relaying.run()

        assert outbox.backlog(outbox.readers()["relay"]).events == 1

    def test_it_ends_without_a_cluster_too(self, outbox: SqliteLog) -> None:
        made(MemoryLog(), {"outbox": outbox}, there=lambda: False, stop=after(5))[0].run()

        assert outbox.readers() == {"relay": base.START}
