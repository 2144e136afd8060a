"""Checkpoints: after so many events, on a thread that nobody waits for."""

from __future__ import annotations

import asyncio
import threading

import pytest
from prometheus_client import registry

from service import checkpoints, recorder
from tests.support import serving


class Log:
    """Notes on which threads it was emptied; fails at first where it is told to."""

    def __init__(self, fails: int = 0) -> None:
        self.threads: list[str] = []
        self._fails = iter([OSError("the disk is gone")] * fails)

    def checkpoint(self) -> None:
        self.threads.append(threading.current_thread().name)
        for cause in self._fails:
            raise cause


def begin(log: Log) -> tuple[checkpoints.Checkpoints, registry.CollectorRegistry]:
    metrics = registry.CollectorRegistry()
    return checkpoints.Checkpoints(log, recorder.Recorder(metrics)), metrics


def calls(log: Log, count: int) -> None:
    asyncio.run(serving.until(lambda: len(log.threads) == count))


def test_after_so_many_events_the_log_is_emptied_on_a_thread_of_its_own() -> None:
    log = Log()
    made, _ = begin(log)
    made.stored(checkpoints.EVENTS - 1)
    made.close(10.0)
    assert log.threads == []

    made, _ = begin(log)
    made.stored(checkpoints.EVENTS)
    calls(log, 1)
    made.close(10.0)
    assert log.threads == ["checkpoints"]


def test_it_is_emptied_again_after_as_many_more() -> None:
    log = Log()
    made, _ = begin(log)
    made.stored(checkpoints.EVENTS)
    calls(log, 1)
    made.stored(2 * checkpoints.EVENTS - 1)
    made.stored(2 * checkpoints.EVENTS)
    calls(log, 2)
    made.close(10.0)
    assert len(log.threads) == 2


def test_a_failure_is_counted_and_the_next_checkpoint_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = Log(fails=1)
    made, metrics = begin(log)
    made.stored(checkpoints.EVENTS)
    calls(log, 1)
    made.stored(2 * checkpoints.EVENTS)
    calls(log, 2)
    made.close(10.0)
    failed = metrics.get_sample_value("coppice_turn_failures_total", {"loop": "checkpoints"})
    assert failed == 1.0
    assert "the disk is gone" in "".join(capsys.readouterr())
