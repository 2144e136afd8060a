"""The monitor: events in, verdicts out.

Called by `coppice monitor` and `coppice up` through `main`; takes the event log and the registry;
gives measurement and verdict events, metrics, and the status that the monitor's pages show.

A turn folds the events that came since the last one into the state (`monitoring.intake`), judges
champion and candidate by it, and writes what changed (`monitoring.conclude`). What it has announced
it reads back from the log like everything else, so after a restart it says nothing twice: the state
comes from a checkpoint and the events behind it, and only a monitor that has caught up speaks.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path

import structlog

from coppice import clock as clocks
from coppice import eventlog, pages, records, registry, signals, telemetry
from coppice import settings as settings_tree
from coppice.eventlog import base as eventlog_base
from coppice.eventlog import retention
from coppice.registry import base as registry_base
from monitoring import checkpoint, conclude, http
from monitoring import state as states
from monitoring import status as statuses
from monitoring.intake import Intake
from monitoring.recorder import Recorder
from monitoring.versions import Versions

BATCH = 2000
"""Events read at once; a turn that gets so many knows that more are waiting."""
JUDGE_SECONDS = 1.0
"""While events keep waiting, verdicts and pages are renewed this often."""
CHECKPOINT_SECONDS = 15.0
"""Least time between two checkpoints: what a restart has to read again."""
NAP_SECONDS = 0.1

_log = structlog.get_logger(__name__)


class Monitor:
    """Watch one model.

    Parameters
    ----------
    log
        Where events are read, and verdicts and measurements written.
    registry
        Where versions are found.
    settings
        The project's settings.
    clock
        Where the time comes from.
    recorder
        Where metrics go.
    """

    def __init__(
        self,
        log: eventlog_base.IndexedLog,
        registry: registry_base.Registry,
        settings: settings_tree.Settings,
        clock: clocks.Clock,
        recorder: Recorder,
    ) -> None:
        self._log = log
        self._settings = settings
        self._clock = clock
        self._recorder = recorder
        versions = Versions(registry, settings)
        restored = checkpoint.load(checkpoint.path(settings), checkpoint.fingerprint(log, settings))
        self._state = restored.state if restored else states.State.empty(settings)
        self._position = restored.position if restored else eventlog_base.START
        self._intake = Intake(self._state, settings, versions)
        self._said = conclude.Conclusions(log, versions, settings, clock, recorder)
        self._waiting: collections.deque[records.Event] = collections.deque()
        self._taking: records.Event | None = None
        self._caught_up = False

    def run(self, stop: Callable[[], bool]) -> None:
        """Take turns until `stop` says so, then once more, and save what is known.

        A turn that raises is counted, logged and tried again; the event at which it raised is
        passed over.
        """
        while not stop():
            if self._guarded_turn() < BATCH:
                self._rest(stop)
        self._guarded_turn()
        self.save()

    def turn(self) -> int:
        """Take in what is new, and judge; return the number of events taken in."""
        started = self._clock.monotonic()
        taken = self._read()
        # Verdicts from half a history would be announced to nobody's good.
        self._caught_up = self._caught_up or taken < BATCH
        if self._caught_up and (taken < BATCH or self._said.is_due("judge", JUDGE_SECONDS)):
            self._said.conclude(self._state, self._intake.assume, idle=not taken)
        if self._said.is_due("save", CHECKPOINT_SECONDS):
            self.save()
        self._recorder.took(
            self._state.events,
            self._state.requests.oddities,
            seconds=self._clock.monotonic() - started,
        )
        self._recorder.succeeded(self._clock.now(), caught_up=taken < BATCH)
        return taken

    def status(self) -> statuses.Status | None:
        """Return what the last turn that judged saw; safe from other threads."""
        return self._said.status()

    def metrics(self) -> bytes:
        """Return the text of `/metrics`; safe from other threads."""
        return self._recorder.page()

    def report(self, name: str) -> Path | None:
        """Return where a drift report lies, `None` without one; safe from other threads."""
        return self._said.report(name)

    def save(self) -> None:
        """Write a checkpoint.

        Raises
        ------
        EnvironmentProblem
            It cannot be written.
        """
        if self._waiting:
            return
        mark = checkpoint.fingerprint(self._log, self._settings)
        checkpoint.save(
            checkpoint.path(self._settings),
            checkpoint.Checkpoint(checkpoint.SCHEMA, mark, self._position, self._state),
        )
        # Only what is in a checkpoint is never read again.
        self._log.mark("monitor", self._position)

    def _guarded_turn(self) -> int:
        try:
            return self.turn()
        except Exception as cause:  # noqa: BLE001 - the outermost turn; the next one may do
            self._recorder.failed(cause)
            event = self._taking.id if self._taking is not None else None
            _log.exception("turn_failed", error=str(cause), event_id=event)
            self._taking = None
            return 0

    def _rest(self, stop: Callable[[], bool]) -> None:
        until = self._clock.monotonic() + self._settings.monitor.poll_seconds
        while not stop() and (left := until - self._clock.monotonic()) > 0.0:
            self._clock.sleep(min(left, NAP_SECONDS))

    def _read(self) -> int:
        """Fold the next batch into the state.

        An event leaves the queue before it is taken in: one at which a bug raises is not met again.
        """
        if not self._waiting:
            batch = self._log.read(self._position, BATCH)
            self._waiting.extend(batch.events)
            self._position = batch.position
        taken = len(self._waiting)
        while self._waiting:
            self._taking = self._waiting.popleft()
            self._intake.take(self._taking)
        self._taking = None
        return taken


def main(settings: settings_tree.Settings) -> None:
    """Run the monitor of a project until SIGTERM or SIGINT.

    Raises
    ------
    EnvironmentProblem
        Its port is taken.
    EventLogError
        The event log cannot be opened.
    """
    telemetry.silence()
    telemetry.configure("monitor")
    stop = signals.stop_requested()
    log = eventlog.open_log(settings)
    try:
        clock = clocks.SystemClock()
        model, door = settings.project.name, settings.monitor
        monitor = Monitor(log, registry.open_registry(settings), settings, clock, Recorder(model))
        with (
            pages.served(http.app(monitor, model, clock), door.host, door.port, table="monitor"),
            retention.running(log, settings),
        ):
            monitor.run(stop)
    finally:
        log.close()
