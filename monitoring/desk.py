"""What the pages of each member of a group show, whether it judges or not.

A verdict is announced in the log, and the log reaches every machine. So each member answers with
what was announced: whichever is asked, and while another takes the judging over, the answer is the
same. The one that judges adds what it alone knows: scores, windows, reports, the label queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from coppice import clock as clocks
from coppice import errors, records, routing
from coppice import settings as settings_tree
from coppice.eventlog import base
from monitoring import reports
from monitoring import state as states
from monitoring import status as statuses
from monitoring.recorder import Recorder

LOOK_SECONDS = 1.0
"""Pause between two looks into the log."""
STEPS = 200
"""Steps of rollouts that are looked back at, for the beginning of a trial or a reign."""

_Record = TypeVar("_Record", records.Rollout, records.Verdict)
_Dated = tuple[float, _Record]


class Desk:
    """Show what was announced; `monitoring.http.Source`.

    Parameters
    ----------
    log
        This machine's log.
    settings
        The project's settings.
    clock
        Where the time comes from.
    recorder
        Counts looks that failed, and gives the metrics.
    """

    def __init__(
        self,
        log: base.IndexedLog,
        settings: settings_tree.Settings,
        clock: clocks.Clock,
        recorder: Recorder,
    ) -> None:
        self._log = log
        self._settings = settings
        self._clock = clock
        self.recorder = recorder
        self._reports = reports.Reports(settings.home / "reports", settings.monitor, clock)
        self._status: statuses.Status | None = None
        self._look_at = float("-inf")

    def look(self, judged: statuses.Status | None = None) -> None:
        """Look into the log, where the last look is a while ago.

        Parameters
        ----------
        judged
            What this member found, where it judges.
        """
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        try:
            self._status = self._announced(judged)
        except errors.EventLogError as problem:
            # What was seen before is shown on.
            self.recorder.failed(problem)

    def status(self) -> statuses.Status | None:
        """Return what was last seen; safe from other threads."""
        return self._status

    def metrics(self) -> bytes:
        """Return the text of `/metrics`; safe from other threads."""
        return self.recorder.page()

    def report(self, name: str) -> Path | None:
        """Return where a drift report lies, `None` without one; safe from other threads."""
        return self._reports.path(name)

    def _announced(self, judged: statuses.Status | None) -> statuses.Status:
        model = self._settings.project.name
        steps = _of_model(self._log.newest(STEPS, records.Rollout), records.Rollout, model)
        route = _route_of(judged) if judged is not None else self._route([s for _, s in steps])
        said = statuses.Judged(
            champion=self._verdict("champion", route.champion, reign_began(steps, route)),
            candidate=self._verdict("candidate", route.candidate, trial_began(steps, route)),
        )
        seen = judged or statuses.of(
            states.State.empty(self._settings), said, [], model=model, now=self._clock.now()
        )
        return msgspec.structs.replace(
            seen,
            champion=route.champion or None,
            candidate=route.candidate,
            previous=route.previous,
            champion_verdict=said.champion,
            candidate_verdict=said.candidate,
        )

    def _route(self, steps: Sequence[records.Rollout]) -> states.Route:
        """Say who plays which part: by the newest step of a rollout, else by the routing table."""
        if steps:
            return states.Route(steps[-1].champion, steps[-1].candidate, steps[-1].previous)
        table = routing.load(self._settings.routing_path)
        if table is None or table.model != self._settings.project.name:
            return states.Route("")
        return states.Route(table.champion, table.candidate, table.previous)

    def _verdict(self, scope: str, version: str | None, since: float) -> records.Verdict | None:
        """Return the last verdict on a version since its trial or its reign began."""
        if not version:
            return None
        found = self._log.find(version, records.Verdict)
        dated = _of_model(found, records.Verdict, self._settings.project.name)
        return max(
            ((time, said) for time, said in dated if said.scope == scope and time >= since),
            key=lambda each: each[0],
            default=(0.0, None),
        )[1]


def _route_of(judged: statuses.Status) -> states.Route:
    return states.Route(judged.champion or "", judged.candidate, judged.previous)


def reign_began(steps: Sequence[_Dated[records.Rollout]], route: states.Route) -> float:
    """Return when the champion became it, or minus infinity where no step tells.

    >>> old, new = (records.Rollout(
    ...     model="m", stage="idle", outcome="promoted", champion=each, reason="", previous=None
    ... ) for each in ("m:1", "m:2"))
    >>> reign_began([(1.0, old), (2.0, new), (3.0, new)], states.Route("m:2"))
    2.0
    >>> reign_began([(2.0, new), (3.0, new)], states.Route("m:2"))
    -inf
    """
    began = float("-inf")
    for before, (time, step) in zip([None, *[step for _, step in steps]], steps, strict=False):
        if before is not None and before.champion != route.champion == step.champion:
            began = time
    return began


def trial_began(steps: Sequence[_Dated[records.Rollout]], route: states.Route) -> float:
    """Return when the candidate's trial was last started, or minus infinity."""
    started = [
        time
        for time, step in steps
        if step.outcome == "started" and step.candidate == route.candidate
    ]
    return max(started, default=float("-inf"))


def _of_model(
    found: Sequence[records.Event], kind: type[_Record], model: str
) -> list[_Dated[_Record]]:
    """Decode events of one model; what cannot be read says nothing."""
    dated: list[_Dated[_Record]] = []
    for event in found:
        if event.model != model:
            continue
        try:
            record = records.unseal(event)
        except errors.UndecodableEvent:
            continue
        if isinstance(record, kind):
            dated.append((event.time, record))
    return dated
