"""The monitor: events in, verdicts out.

Called by `coppice monitor` and `coppice up` through `main`; takes the event log and the registry;
gives measurement and verdict events, metrics, and the status that the monitor's pages show.

A turn folds the events that came since the last one into the state (`monitoring.intake`), judges
champion and candidate by it (`monitoring.judge`), and writes what changed. What it has announced it
reads back from the log like everything else, so after a restart it says nothing twice: the state
comes from a checkpoint and the events behind it, and only a monitor that has caught up speaks.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from coppice import clock as clocks
from coppice import errors, eventlog, records, registry, routing, signals, telemetry
from coppice import settings as settings_tree
from coppice.eventlog import base as eventlog_base
from coppice.eventlog import retention
from coppice.registry import base as registry_base
from monitoring import checkpoint, http, judge, quality, reports, wanted
from monitoring import state as states
from monitoring import status as statuses
from monitoring.intake import Intake
from monitoring.recorder import Recorder
from monitoring.versions import Versions

SOURCE = "coppice/monitor"
BATCH = 2000
"""Events read at once; a turn that gets so many knows that more are waiting."""
JUDGE_SECONDS = 1.0
"""While events keep waiting, verdicts and pages are renewed this often."""
MEASURE_SECONDS = 10.0
"""Least time between two rounds of measurement events; the metrics are always fresh."""
CHECKPOINT_SECONDS = 15.0
"""Least time between two checkpoints: what a restart has to read again."""
REFRESH_SECONDS = {"candidate": 5.0, "champion": 60.0}
"""Least time until a verdict is announced again because its evidence, but not its kind, changed."""
QUEUE = 1000
"""Most entries of the label queue that the pages show."""
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
        self._versions = versions
        self._intake = Intake(self._state, settings, versions)
        self._judge = judge.Judge(log, versions, settings)
        self._waiting: collections.deque[records.Event] = collections.deque()
        self._taking: records.Event | None = None
        self._status: statuses.Status | None = None
        self._caught_up = False
        self._measured: list[records.Measurement] = []
        self._labelled: dict[str, int] = {}
        self._quality: dict[str, dict[str, quality.Quality]] = {}
        self._reports = reports.Reports(settings.home / "reports", settings.monitor, clock)
        # What an earlier monitor said last is as fresh as this one.
        self._done_at = dict.fromkeys(REFRESH_SECONDS, clock.monotonic())

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
        if self._caught_up and (taken < BATCH or self._is_due("judge", JUDGE_SECONDS)):
            self._conclude(idle=not taken)
        if self._is_due("save", CHECKPOINT_SECONDS):
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
        return self._status

    def metrics(self) -> bytes:
        """Return the text of `/metrics`; safe from other threads."""
        return self._recorder.page()

    def report(self, name: str) -> Path | None:
        """Return where a drift report lies, `None` without one; safe from other threads."""
        return self._reports.path(name)

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

    def _conclude(self, *, idle: bool) -> None:
        self._find_champion()
        judged = self._judge.judge(self._state)
        for verdict in judged.verdicts():
            self._announce(verdict)
        now = self._clock.now()
        eager = judge.is_open(judged) or wanted.is_doubtful(
            self._state, self._settings.decay.tolerance
        )
        queue = wanted.queue(self._state, self._settings, QUEUE, eager=eager)
        model = self._settings.project.name
        seen = statuses.of(
            self._state, judged, queue, model=model, now=now, measures=self._qualities(idle=idle)
        )
        self._status = msgspec.structs.replace(seen, reports=self._reports.names())
        self._recorder.show(self._status)
        self._measure(self._status)

    def _qualities(self, *, idle: bool) -> dict[str, dict[str, quality.Quality]]:
        """Measure versions by the task's own measures; their intervals take a while.

        So under load they are renewed now and then, and at once when nothing else is to be done.
        """
        labelled = {version: window.labelled for version, window in self._state.recent.items()}
        if labelled != self._labelled and (idle or self._is_due("quality", MEASURE_SECONDS)):
            task = self._settings.project.task
            self._quality = {
                version: quality.by_slice(window, task)
                if labelled[version] != self._labelled.get(version)
                else self._quality[version]
                for version, window in self._state.recent.items()
            }
            self._labelled = labelled
        return self._quality

    def _find_champion(self) -> None:
        """Ask the routing table who serves, where no rollout event has told."""
        route = self._state.route
        reign = self._state.reign
        if route is not None and reign is not None and reign.version == route.champion:
            return
        if route is None:
            table = routing.load(self._settings.routing_path)
            if table is None or table.model != self._settings.project.name:
                return
            route = states.Route(table.champion, table.candidate, table.previous)
        try:
            self._intake.assume(route, self._clock.now())
        except (errors.UnknownVersion, errors.ArtifactError) as cause:
            _log.warning("champion_unknown", version=route.champion, reason=str(cause))

    def _announce(self, verdict: records.Verdict) -> None:
        before = self._state.announced_of(verdict.scope, verdict.version)
        if not self._is_news(verdict, before):
            return
        self._log.append([records.seal(verdict, source=SOURCE, now=self._clock.now())])
        self._state.announce(verdict)
        self._done_at[verdict.scope] = self._clock.monotonic()
        self._recorder.announced(verdict)
        if verdict.kind == "drift" and (before is None or before.kind != "drift"):
            self._draw(verdict.version)
        _log.info("verdict", scope=verdict.scope, kind=verdict.kind, reason=verdict.reason)

    def _draw(self, version: str) -> None:
        """Begin a report of the window at which drift was declared."""
        picture = self._versions.picture(version)
        name = self._reports.write(version, picture) if picture is not None else None
        if name is not None:
            _log.info("report_begun", report=name)

    def _is_news(self, verdict: records.Verdict, before: records.Verdict | None) -> bool:
        if before is None or verdict.kind != before.kind:
            return True
        if (verdict.cause, verdict.against) != (before.cause, before.against):
            # A cause that was found stands until another one is.
            return verdict.cause != "undecided"
        # Whoever answers a decay or a rollback must not be asked to do it twice.
        if verdict.kind in {"decay", "rollback"}:
            return False
        same = (verdict.counts, verdict.evidence) == (before.counts, before.evidence)
        return not same and self._is_due(verdict.scope, REFRESH_SECONDS[verdict.scope])

    def _measure(self, seen: statuses.Status) -> None:
        measured = statuses.measurements(seen)
        if measured == self._measured or not self._is_due("measure", MEASURE_SECONDS):
            return
        now = self._clock.now()
        self._log.append([records.seal(each, source=SOURCE, now=now) for each in measured])
        self._measured = measured

    def _is_due(self, what: str, seconds: float) -> bool:
        """Say whether something was last done so long ago, and if so note that it is done now."""
        now = self._clock.monotonic()
        if now - self._done_at.get(what, float("-inf")) < seconds:
            return False
        self._done_at[what] = now
        return True


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
        model = settings.project.name
        monitor = Monitor(log, registry.open_registry(settings), settings, clock, Recorder(model))
        with (
            http.served(http.app(monitor, model, clock), settings.monitor),
            retention.running(log, settings),
        ):
            monitor.run(stop)
    finally:
        log.close()
