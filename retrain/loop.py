"""The retrainer: a verdict of decay in, a candidate out.

Called by `coppice retrain` and `coppice up` through `main`; takes the event log and the registry;
gives candidates and, for every retraining, an event when it starts and one when it ends.

The state is folded from the log, so a restarted process goes on where the old one was. What was
started and has no end when a turn begins was killed: it is marked as failed, and the next verdict
decides again. One that was asked to stop is marked as held instead, and begins anew by itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import structlog

from coppice import (
    artifact,
    clock,
    errors,
    eventlog,
    project,
    records,
    registry,
    settings,
    signals,
    telemetry,
)
from coppice.eventlog import base as eventlog_base
from coppice.registry import base as registry_base
from retrain import candidate, card, dataset, history, trigger
from retrain.pruning import recipe
from retrain.recorder import Recorder

LOCK = "retrain.lock"
"""File below the home folder that one retrainer at a time holds."""
PROJECT_SECONDS = 60.0
"""Pause before a project whose code or data could not be used is tried again."""

_log = structlog.get_logger(__name__)
_READ = {
    records.NAMES[kind]
    for kind in (
        records.Candidate,
        records.Feedback,
        records.Retraining,
        records.Rollout,
        records.Verdict,
    )
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Joined:
    """The project's data and production's, as of the newest labelled request."""

    newest: str | None = None
    own: project.Project | None = None
    data: project.Data | None = None
    production: dataset.Production | None = None

    @property
    def rows(self) -> int:
        return 0 if self.production is None else self.production.rows


class Stopped(Exception):
    """The process was asked to stop while it trained."""


def never() -> bool:
    """Never ask to stop."""
    return False


class Retrainer:
    """Answer one model's verdicts of decay.

    Parameters
    ----------
    log
        Where verdicts and labels are read, and candidates and retrainings written.
    registry
        Where parents and champions are found, and candidates go.
    tree
        The project's settings.
    timer
        Where the time comes from.
    recorder
        Where metrics go.
    stop
        Asked after every epoch and phase; when it says so, the training ends within seconds.
    """

    def __init__(
        self,
        log: eventlog_base.IndexedLog,
        registry: registry_base.Registry,
        tree: settings.Settings,
        timer: clock.Clock,
        recorder: Recorder | None = None,
        *,
        stop: Callable[[], bool] = never,
    ) -> None:
        self._log = log
        self._registry = registry
        self._tree = tree
        self._clock = timer
        self.recorder = recorder or Recorder(tree.project.name)
        self._stop = stop
        self._position = eventlog_base.START
        self._labelled = dataset.LabelledRequests(limit=tree.retrain.max_production_rows)
        self._joined = _Joined()
        self._project_again_at = 0.0
        self._said: tuple[str, ...] | None = None
        self.state = history.State()

    def run(self) -> None:
        """Take turns until asked to stop; one that raises is counted, logged and tried again."""
        while not self._stop():
            try:
                self.turn()
            except Exception as cause:  # noqa: BLE001 - the outermost turn; the next look may do
                self.recorder.failed(cause)
                _log.exception("turn_failed", error=str(cause))
            if not self._stop():
                self._clock.sleep(self._tree.retrain.poll_seconds)

    def turn(self) -> int:
        """Read what is new, and answer the verdict that waits, if its time has come.

        Returns
        -------
        int
            Number of events read.

        Raises
        ------
        EnvironmentProblem
            Another retrainer works on this project.
        """
        with _alone(self._tree.home / LOCK):
            handled = self._read()
            if self.state.started is not None:
                self._write(
                    "failed",
                    self.state.started.cause,
                    "it ended without a result, killed or by a bug",
                )
            if self.state.pending is not None:
                self._consider(self.state.pending)
        self.recorder.saw(self.state, self._labelled.rows)
        return handled

    def _read(self) -> int:
        handled = 0
        while True:
            batch = self._log.read(self._position)
            for event in batch.events:
                self._take_in(event)
            self._position = batch.position
            handled += len(batch.events)
            if not batch.events:
                return handled

    def _take_in(self, event: records.Event) -> None:
        if event.model != self._tree.project.name or event.type not in _READ:
            return
        try:
            record = records.unseal(event)
        except errors.UndecodableEvent as cause:
            self.recorder.passed_over()
            _log.warning("event_passed_over", event_id=event.id, reason=str(cause))
            return
        self._labelled.take(record)
        self.state = history.fold(self.state, event, record)

    def _consider(self, pending: history.Pending) -> None:
        decision = self._decide(pending, self._labelled.rows)
        if decision.action == "start":
            # Only now is it worth joining: what was not stored cannot be learned from.
            decision = self._decide_on_joined(pending)
        self.recorder.decided(decision)
        match decision.action:
            case "ignore":
                _log.info("verdict_ignored", verdict=pending.event_id, reason=decision.reason)
                self.state = dataclasses.replace(self.state, pending=None)
            case "held":
                self._hold(pending, decision)
            case "start":
                self._answer(pending, decision)

    def _decide_on_joined(self, pending: history.Pending) -> trigger.Decision:
        now = self._clock.now()
        if now < self._project_again_at:
            return trigger.Decision(action="held", rule="project", reason="its data cannot be used")
        try:
            return self._decide(pending, self._join().rows)
        except errors.ProjectError as cause:
            self._project_again_at = now + PROJECT_SECONDS
            return trigger.Decision(action="held", rule="project", reason=str(cause))

    def _decide(self, pending: history.Pending, labelled: int) -> trigger.Decision:
        situation = trigger.Situation(
            champion=self.state.champion,
            rolling_out=self.state.rolling_out,
            starts=self.state.starts,
            attempts=self.state.attempts,
            labels=labelled,
        )
        return trigger.decide(pending.verdict, situation, self._tree.retrain, self._clock.now())

    def _hold(self, pending: history.Pending, decision: trigger.Decision) -> None:
        """Say once why nothing happens; the monitor repeats its verdict, we need not."""
        verdict = pending.verdict
        said = (verdict.version, str(verdict.cause), decision.rule)
        if said != self._said:
            self._said = said
            self._write("held", verdict.cause or "undecided", decision.reason, pending.event_id)

    def _join(self) -> _Joined:
        """Join labels with their predictions, unless nothing came since the last time."""
        newest = self._labelled.newest
        if self._joined.newest != newest or self._joined.production is None:
            own = project.load(self._tree)
            data = project.load_data(own)
            production = dataset.collect(self._log, self._labelled, data, self._tree)
            self._joined = _Joined(newest=newest, own=own, data=data, production=production)
        return self._joined

    def _answer(self, pending: history.Pending, decision: trigger.Decision) -> None:
        self._said = None
        cause = pending.verdict.cause or "undecided"
        self._write("started", cause, decision.reason, pending.event_id)
        try:
            made = self._make(pending.verdict, decision)
        except Stopped:
            self._write("held", cause, "asked to stop; it begins anew later", pending.event_id)
        except errors.CoppiceError as problem:
            self._write("failed", cause, str(problem), pending.event_id)
        else:
            reason = f"{made.version} was made and {made.status}"
            self._write("finished", cause, reason, pending.event_id, made.version)

    def _make(self, verdict: records.Verdict, decision: trigger.Decision) -> records.Candidate:
        joined = self._join()
        assert joined.own is not None
        request = self._request(verdict, decision, joined)
        try:
            return self._carry_out(joined.own, request)
        except errors.PruningError:
            if not decision.keep_parent or request.recipe.removes_nothing:
                raise
        # So little cannot be cut from this network at all: leave it whole, only fine-tuned.
        whole = request.recipe.without_cut()
        return self._carry_out(joined.own, dataclasses.replace(request, recipe=whole))

    def _carry_out(
        self, own: project.Project, request: candidate.CandidateRequest
    ) -> records.Candidate:
        return candidate.make(
            own,
            self._registry,
            self._log,
            request,
            progress=self._progress,
            timer=self._clock,
        )

    def _request(
        self, verdict: records.Verdict, decision: trigger.Decision, joined: _Joined
    ) -> candidate.CandidateRequest:
        folder = self._registry.path(verdict.version)
        used = self._recipe(folder)
        return candidate.CandidateRequest(
            recipe=used.milder(decision.amount_factor) if decision.amount_factor < 1.0 else used,
            reason=decision.reason,
            cause="pruning" if decision.keep_parent else "world",
            data=joined.data,
            production=joined.production,
            # A champion without a parent is itself dense.
            parent=artifact.read_manifest(folder).parent or verdict.version,
            refit=not decision.keep_parent,
        )

    def _recipe(self, folder: Path) -> recipe.Recipe:
        try:
            found = card.read(folder).recipe
        except errors.ArtifactError as cause:
            _log.warning("card_unreadable", folder=str(folder), reason=str(cause))
            found = None
        return found or recipe.Recipe.from_settings(self._tree.prune)

    def _progress(self, phase: str, share: float) -> None:
        if self._stop():
            raise Stopped
        if share == 0.0:
            _log.info("phase", phase=phase)
        self.recorder.progressed(phase, share)

    def _write(
        self,
        status: Literal["started", "finished", "held", "failed"],
        cause: records.Cause | Literal["manual"],
        reason: str,
        trigger_id: str | None = None,
        version: str | None = None,
    ) -> None:
        record = records.Retraining(
            model=self._tree.project.name,
            status=status,
            cause=cause,
            reason=reason,
            trigger=trigger_id,
            version=version,
        )
        self._log.append([records.seal(record, source=candidate.SOURCE, now=self._clock.now())])
        self.recorder.stepped(record)
        _log.info("retraining", status=status, cause=cause, reason=reason, version=version)
        # The log is the state: what was written is read back like everything else.
        self._read()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock for a turn; the system lets go of it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            message = f"another retrainer works on this project (it holds {path}); let it finish"
            raise errors.EnvironmentProblem(message) from cause
        yield


def main(tree: settings.Settings) -> None:
    """Run the retrainer of a project until SIGTERM or SIGINT."""
    telemetry.configure("retrain")
    stop = signals.stop_requested()
    recorder = Recorder(tree.project.name)
    recorder.serve(tree.metrics.host, tree.retrain.metrics_port)
    log = eventlog.open_log(tree)
    try:
        Retrainer(
            log,
            registry.open_registry(tree),
            tree,
            clock.SystemClock(),
            recorder,
            stop=stop,
        ).run()
    finally:
        log.close()
