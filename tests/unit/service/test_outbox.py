"""The outbox: answered means committed, and a full log is said to be full."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client import registry

from coppice import clock, errors, records
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.sqlite import SqliteLog
from service import checkpoints, outbox, recorder
from tests.support import serving

Steps = Callable[[outbox.Outbox], Coroutine[Any, Any, None]]

BIG = np.zeros((1, 16_384), dtype=np.float32)
"""64 KiB of inputs."""


def prediction(name: str, inputs: Any = None) -> records.Event:
    record = records.Prediction(
        request_id=name,
        model="tiny",
        version="tiny:1",
        lane="stable",
        propensity=1.0,
        key_hash="k",
        inputs={} if inputs is None else {"x": records.Tensor.of(inputs)},
        latency_seconds=0.001,
    )
    return records.seal(record, source="test", now=1.0)


def feedback(name: str) -> records.Event:
    record = records.Feedback(request_id=name, model="tiny", labels=(1,), labelled_at=1.0)
    return records.seal(record, source="test", now=1.0)


def run(
    log: Any, steps: Steps, limit: int = 100, *, answer: bool = False
) -> registry.CollectorRegistry:
    """Run steps against an outbox, drain it, and return its metrics."""
    metrics = registry.CollectorRegistry()

    async def main() -> None:
        made = outbox.Outbox(
            log,
            loop=asyncio.get_running_loop(),
            metrics=recorder.Recorder(metrics),
            time=clock.SystemClock(),
            limit=limit,
            answer_when_full=answer,
        )
        try:
            async with asyncio.timeout(30.0):
                await steps(made)
        finally:
            made.close(10.0)

    asyncio.run(main())
    return metrics


def ids(log: Any) -> list[str]:
    return [event.subject for event in log.read("").events]


def test_an_event_is_in_the_log_once_its_future_is_done() -> None:
    log = MemoryLog()

    async def steps(made: outbox.Outbox) -> None:
        await made.commit(prediction("r1"))
        assert ids(log) == ["r1"]

    run(log, steps)


def test_what_came_up_together_is_one_transaction_in_order() -> None:
    log = MemoryLog()

    async def steps(made: outbox.Outbox) -> None:
        await asyncio.gather(*[made.commit(prediction(f"r{n}")) for n in range(50)])

    metrics = run(log, steps)
    assert ids(log) == [f"r{n}" for n in range(50)]
    assert metrics.get_sample_value("coppice_outbox_commit_seconds_count") == 1.0


def test_events_that_nobody_waits_for_are_stored_too() -> None:
    log = MemoryLog()

    async def steps(made: outbox.Outbox) -> None:
        assert made.post([prediction("r1"), prediction("r2")])

    run(log, steps)
    assert ids(log) == ["r1", "r2"]


def test_what_waits_is_committed_before_the_end() -> None:
    log = MemoryLog()

    async def steps(made: outbox.Outbox) -> None:
        made.commit(prediction("r1"))

    run(log, steps)
    assert ids(log) == ["r1"]


def test_more_events_than_may_wait_are_refused() -> None:
    async def steps(made: outbox.Outbox) -> None:
        first, second = made.commit(prediction("r1")), made.commit(prediction("r2"))
        with pytest.raises(errors.Overloaded):
            made.commit(prediction("r3"))
        await asyncio.gather(first, second)
        await made.commit(prediction("r4"))

    log = MemoryLog()
    run(log, steps, limit=2)
    assert ids(log) == ["r1", "r2", "r4"]


def test_what_nobody_waits_for_gives_way_first() -> None:
    async def steps(made: outbox.Outbox) -> None:
        waiting = made.commit(prediction("r1"))
        assert not made.post([prediction("r2")])
        await waiting

    log = MemoryLog()
    run(log, steps, limit=2)
    assert ids(log) == ["r1"]


def test_a_log_that_cannot_be_written_fails_the_request() -> None:
    log = MemoryLog()
    log.close()

    async def steps(made: outbox.Outbox) -> None:
        with pytest.raises(errors.EventLogError, match="closed"):
            await made.commit(prediction("r1"))
        assert made.alive

    metrics = run(log, steps)
    assert metrics.get_sample_value("coppice_outbox_failures_total") == 1.0


def test_an_unforeseen_error_fails_the_request_and_not_the_thread() -> None:
    async def steps(made: outbox.Outbox) -> None:
        with pytest.raises(errors.EventLogError, match="no attribute 'room'"):
            await made.commit(prediction("r1"))
        assert made.alive

    metrics = run(object(), steps)
    failed = metrics.get_sample_value("coppice_turn_failures_total", {"loop": "outbox"})
    assert failed == 1.0


@pytest.fixture
def nearly_full(tmp_path: Path) -> SqliteLog:
    """A log with room for a few small events but not for 64 KiB."""
    # An empty log has about 10 pages of 4 KiB; 80 KiB leave about 10 more.
    return SqliteLog(tmp_path / "events.sqlite", max_bytes=80 * 1024)


def test_a_full_log_first_drops_the_inputs_of_predictions(nearly_full: SqliteLog) -> None:
    async def steps(made: outbox.Outbox) -> None:
        await asyncio.gather(made.commit(prediction("r1", BIG)), made.commit(feedback("r0")))

    metrics = run(nearly_full, steps)
    found = serving.stored(nearly_full, records.Prediction)
    assert [(record.request_id, record.inputs) for record in found] == [("r1", {})]
    assert len(serving.stored(nearly_full, records.Feedback)) == 1
    assert metrics.get_sample_value("coppice_inputs_dropped_total") == 1.0
    nearly_full.close()


def test_after_a_full_log_inputs_are_left_out_at_once_for_a_while(nearly_full: SqliteLog) -> None:
    async def steps(made: outbox.Outbox) -> None:
        await made.commit(prediction("r1", BIG))
        await made.commit(prediction("r2", np.zeros((1, 1))))

    run(nearly_full, steps)
    found = serving.stored(nearly_full, records.Prediction)
    assert [record.inputs for record in found] == [{}, {}]
    nearly_full.close()


async def fill(made: outbox.Outbox) -> list[BaseException]:
    """Commit pairs of a prediction and feedback until both are refused; return the refusals."""
    refused: list[BaseException] = []
    for number in range(400):
        pair = [made.commit(prediction(f"r{number}")), made.commit(feedback(f"f{number}"))]
        refused = [e for e in await asyncio.gather(*pair, return_exceptions=True) if e]
        if len(refused) == 2:
            break
    return refused


def test_where_nothing_fits_any_more_everyone_is_told(nearly_full: SqliteLog) -> None:
    async def steps(made: outbox.Outbox) -> None:
        causes = [type(cause) for cause in await fill(made)]
        assert causes == [errors.LogFull, errors.LogFull]

    run(nearly_full, steps)
    nearly_full.close()


class RoomForOne(MemoryLog):
    """A log that has room for a single event more."""

    def append(self, events: Sequence[records.Event]) -> None:
        if len(events) + len(self.read("").events) > 1:
            raise errors.LogFull("full")
        super().append(events)

    def append_at_once(self, events: Sequence[records.Event]) -> bool:
        del events
        return False


def test_the_last_room_is_for_a_label_though_a_prediction_came_before_it() -> None:
    log = RoomForOne()

    async def steps(made: outbox.Outbox) -> None:
        told = await asyncio.gather(
            made.commit(prediction("r1")), made.commit(feedback("r0")), return_exceptions=True
        )
        assert [type(each) for each in told] == [errors.LogFull, type(None)]

    run(log, steps)
    assert [event.type for event in log.read("").events] == ["coppice.feedback.v1"]


def test_with_a_tenth_of_the_cap_left_inputs_are_left_out_before_the_log_is_full(
    tmp_path: Path,
) -> None:
    # 4 MiB, of which 3.7 MiB are taken: less than a tenth is left, yet 64 KiB would still fit.
    log = SqliteLog(tmp_path / "events.sqlite", max_bytes=4 * 2**20)
    log.append([msgspec.structs.replace(feedback("f"), data=bytes(int(3.7 * 2**20)))])

    async def steps(made: outbox.Outbox) -> None:
        await made.commit(prediction("r1", BIG))

    metrics = run(log, steps)
    found = serving.stored(log, records.Prediction)
    assert [record.inputs for record in found] == [{}]
    assert metrics.get_sample_value("coppice_inputs_dropped_total") == 1.0
    assert metrics.get_sample_value("coppice_outbox_failures_total") == 0.0
    log.close()


def test_by_policy_predictions_are_answered_by_a_full_log_and_counted(
    nearly_full: SqliteLog,
) -> None:
    async def steps(made: outbox.Outbox) -> None:
        for number in range(400):
            await made.commit(prediction(f"r{number}"))
        with pytest.raises(errors.LogFull):
            await made.commit(msgspec.structs.replace(feedback("f"), data=bytes(2**17)))

    metrics = run(nearly_full, steps, answer=True)
    stored = len(serving.stored(nearly_full, records.Prediction))
    assert metrics.get_sample_value("coppice_predictions_unstored_total") == 400 - stored
    assert metrics.get_sample_value("coppice_outbox_failures_total") == 1.0
    nearly_full.close()


class Witness(MemoryLog):
    """Notes on which thread each event was stored."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def append(self, events: Sequence[records.Event]) -> None:
        self.threads += [threading.get_ident()] * len(events)
        super().append(events)


def test_after_the_thread_has_had_a_look_the_event_loop_commits_by_itself() -> None:
    log = Witness()

    async def steps(made: outbox.Outbox) -> None:
        await made.commit(prediction("r1"))
        await serving.until(lambda: not made._busy)
        await asyncio.gather(made.commit(prediction("r2")), made.commit(prediction("r3")))
        assert [thread == threading.get_ident() for thread in log.threads] == [False, True, True]

    run(log, steps)
    assert ids(log) == ["r1", "r2", "r3"]


class Stumbling(Witness):
    """Fails on the event loop in a way that nobody foresaw."""

    def append_at_once(self, events: Sequence[records.Event]) -> bool:
        raise MemoryError(len(events))


def test_an_unforeseen_error_on_the_event_loop_leaves_the_commit_to_the_thread() -> None:
    log = Stumbling()

    async def steps(made: outbox.Outbox) -> None:
        await made.commit(prediction("r1"))
        await serving.until(lambda: not made._busy)
        await made.commit(prediction("r2"))
        assert threading.get_ident() not in log.threads

    metrics = run(log, steps)
    assert ids(log) == ["r1", "r2"]
    failed = metrics.get_sample_value("coppice_turn_failures_total", {"loop": "outbox"})
    assert failed == 1.0


def test_once_a_second_the_thread_has_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "ROOM_SECONDS", 0.0)
    log = Witness()

    async def steps(made: outbox.Outbox) -> None:
        for number in range(3):
            await made.commit(prediction(f"r{number}"))
            await serving.until(lambda: not made._busy)

    run(log, steps)
    assert ids(log) == ["r0", "r1", "r2"]
    assert threading.get_ident() not in log.threads


def test_a_slow_commit_on_the_event_loop_gives_the_thread_a_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "SLOW_SECONDS", 0.0)
    log = Witness()

    async def steps(made: outbox.Outbox) -> None:
        for number in range(3):
            await made.commit(prediction(f"r{number}"))
            await serving.until(lambda: not made._busy)

    run(log, steps)
    assert [thread == threading.get_ident() for thread in log.threads] == [False, True, False]


class Gathering(MemoryLog):
    """Counts how often what it gathered was put in its place."""

    emptied = 0

    def checkpoint(self) -> None:
        self.emptied += 1


def test_the_log_is_emptied_after_so_many_events_wherever_they_were_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "EVENTS", 3)
    log = Gathering()

    async def steps(made: outbox.Outbox) -> None:
        # Two by the thread and one on the event loop, then three by the thread.
        assert made.post([prediction("s1")])
        await made.commit(prediction("r1"))
        await serving.until(lambda: not made._busy)
        assert log.emptied == 0
        await made.commit(prediction("r2"))
        await serving.until(lambda: log.emptied == 1)
        assert made.post([prediction("s2"), prediction("s3"), prediction("s4")])
        await serving.until(lambda: log.emptied == 2)

    run(log, steps)


def test_while_another_process_writes_the_thread_waits_and_not_the_event_loop(
    tmp_path: Path,
) -> None:
    log = SqliteLog(tmp_path / "events.sqlite")
    other = sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None)

    async def steps(made: outbox.Outbox) -> None:
        await made.commit(prediction("r1"))
        await serving.until(lambda: not made._busy)
        other.execute("BEGIN IMMEDIATE")
        waiting = made.commit(prediction("r2"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        other.execute("COMMIT")
        await waiting

    run(log, steps)
    assert ids(log) == ["r1", "r2"]
    log.close()
    other.close()


def test_a_log_that_waits_for_the_disk_is_written_by_the_thread_only(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "events.sqlite", durability="power-loss")
    assert log.append_at_once([prediction("r1")]) is False
    assert ids(log) == []
    log.close()
