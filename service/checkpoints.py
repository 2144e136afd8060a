"""Checkpoints of the event log on a thread of their own, so that no answer waits for the disk.

A commit adds to the write-ahead log, which somebody has to move into the file now and then. That
takes tens of milliseconds of the disk's time; done within a commit, every answer behind it would
wait as long. Called by the outbox, on the event loop and on its thread.
"""

from __future__ import annotations

import threading
from typing import Protocol

import structlog

from service import recorder

EVENTS = 1024
"""A checkpoint follows after so many events."""

_LOG = structlog.get_logger()


class Log(Protocol):
    """An event log that gathers what was committed before it puts it in its place."""

    def checkpoint(self) -> None:
        """Put what gathered in its place; others commit meanwhile."""
        ...


class Checkpoints:
    """Calls the log's `checkpoint` after every `EVENTS` events.

    Parameters
    ----------
    log
        What is written.
    metrics
        Counts what went wrong.
    """

    def __init__(self, log: Log, metrics: recorder.Recorder) -> None:
        self._log = log
        self._metrics = metrics
        self._last = 0
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def stored(self, total: int) -> None:
        """Say how many events were stored so far; costs next to nothing."""
        if total - self._last >= EVENTS:
            self._last = total
            self._wake.set()

    def close(self, seconds: float) -> None:
        """End the thread; waits at most so long for the checkpoint that is under way."""
        self._ended = True
        self._wake.set()
        self._thread.join(seconds)

    def _work(self) -> None:
        while self._wake.wait() and not self._ended:
            self._wake.clear()
            try:
                self._log.checkpoint()
            except Exception:  # noqa: BLE001 - the loop must go on
                _LOG.exception("checkpoint of the event log failed; its disk needs a look")
                self._metrics.turn_failed("checkpoints")
