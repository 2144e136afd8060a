"""What the monitor says, from what it knows: verdicts, measurements, pages and reports.

Called by whoever folds facts, after each step: a single monitor (`monitoring.loop`) or the one of
a group that judges (`monitoring.aggregate`). It speaks where a verdict is news, and remembers in
the state what it has said.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
import structlog

from coppice import clock as clocks
from coppice import errors, records, routing
from coppice import settings as settings_tree
from coppice.eventlog import base as eventlog_base
from monitoring import judge, quality, reports, wanted
from monitoring import state as states
from monitoring import status as statuses
from monitoring.recorder import Recorder
from monitoring.versions import Versions

SOURCE = "coppice/monitor"
MEASURE_SECONDS = 10.0
"""Least time between two rounds of measurement events; the metrics are always fresh."""
REFRESH_SECONDS = {"candidate": 5.0, "champion": 60.0}
"""Least time until a verdict is announced again because its evidence, but not its kind, changed."""
QUEUE = 1000
"""Most entries of the label queue that the pages show."""

Assume: TypeAlias = Callable[[states.Route, float], None]

_log = structlog.get_logger(__name__)


class Conclusions:
    """Judge a state and say what is news.

    Parameters
    ----------
    log
        Where verdicts and measurements are written, and inputs to replay are found.
    versions
        Models and manifests.
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
        versions: Versions,
        settings: settings_tree.Settings,
        clock: clocks.Clock,
        recorder: Recorder,
    ) -> None:
        self._log = log
        self._versions = versions
        self._settings = settings
        self._clock = clock
        self._recorder = recorder
        self._judge = judge.Judge(log, versions, settings)
        self._status: statuses.Status | None = None
        self._measured: list[records.Measurement] = []
        self._labelled: dict[str, int] = {}
        self._quality: dict[str, dict[str, quality.Quality]] = {}
        self._reports = reports.Reports(settings.home / "reports", settings.monitor, clock)
        # What an earlier monitor said last is as fresh as this one.
        self._done_at = dict.fromkeys(REFRESH_SECONDS, clock.monotonic())

    def status(self) -> statuses.Status | None:
        """Return what was last concluded; safe from other threads."""
        return self._status

    def report(self, name: str) -> Path | None:
        """Return where a drift report lies, `None` without one; safe from other threads."""
        return self._reports.path(name)

    def failed(self, cause: Exception) -> None:
        """Count and log what one step raised, where the next one may do."""
        self._recorder.failed(cause)
        _log.error("step_failed", error=str(cause), exc_info=cause)

    def conclude(self, state: states.State, assume: Assume, *, idle: bool) -> None:
        """Judge, and write what is news.

        Parameters
        ----------
        state
            What is known.
        assume
            Takes roles from the routing table into the state, where no rollout event told them.
        idle
            Whether there is nothing else to do, so that what takes a while may be done now.
        """
        self._find_champion(state, assume)
        judged = self._judge.judge(state)
        for verdict in judged.verdicts():
            self._announce(state, verdict)
        now = self._clock.now()
        eager = judge.is_open(judged) or wanted.is_doubtful(state, self._settings.decay.tolerance)
        queue = wanted.queue(state, self._settings, QUEUE, eager=eager)
        model = self._settings.project.name
        seen = statuses.of(
            state, judged, queue, model=model, now=now, measures=self._qualities(state, idle=idle)
        )
        self._status = msgspec.structs.replace(seen, reports=self._reports.names())
        self._recorder.show(self._status)
        self._measure(self._status)

    def _qualities(
        self, state: states.State, *, idle: bool
    ) -> dict[str, dict[str, quality.Quality]]:
        """Measure versions by the task's own measures; their intervals take a while.

        So under load they are renewed now and then, and at once when nothing else is to be done.
        """
        labelled = {version: window.labelled for version, window in state.recent.items()}
        if labelled != self._labelled and (idle or self.is_due("quality", MEASURE_SECONDS)):
            task = self._settings.project.task
            self._quality = {
                version: quality.by_slice(window, task)
                if labelled[version] != self._labelled.get(version)
                else self._quality[version]
                for version, window in state.recent.items()
            }
            self._labelled = labelled
        return self._quality

    def _find_champion(self, state: states.State, assume: Assume) -> None:
        """Ask the routing table who serves, where no rollout event has told."""
        route = state.route
        reign = state.reign
        if route is not None and reign is not None and reign.version == route.champion:
            return
        if route is None:
            table = routing.load(self._settings.routing_path)
            if table is None or table.model != self._settings.project.name:
                return
            route = states.Route(table.champion, table.candidate, table.previous)
        try:
            assume(route, self._clock.now())
        except (errors.UnknownVersion, errors.ArtifactError) as cause:
            _log.warning("champion_unknown", version=route.champion, reason=str(cause))

    def _announce(self, state: states.State, verdict: records.Verdict) -> None:
        before = state.announced_of(verdict.scope, verdict.version)
        if not self._is_news(verdict, before):
            return
        self._log.append([records.seal(verdict, source=SOURCE, now=self._clock.now())])
        state.announce(verdict)
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
        return not same and self.is_due(verdict.scope, REFRESH_SECONDS[verdict.scope])

    def _measure(self, seen: statuses.Status) -> None:
        measured = statuses.measurements(seen)
        if measured == self._measured or not self.is_due("measure", MEASURE_SECONDS):
            return
        now = self._clock.now()
        self._log.append([records.seal(each, source=SOURCE, now=now) for each in measured])
        self._measured = measured

    def is_due(self, what: str, seconds: float) -> bool:
        """Say whether something was last done so long ago, and if so note that it is done now."""
        now = self._clock.monotonic()
        if now - self._done_at.get(what, float("-inf")) < seconds:
            return False
        self._done_at[what] = now
        return True
