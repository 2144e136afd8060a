"""The controller: candidates, verdicts and commands in, routes out.

Called by `coppice rollout run` and `coppice up` through `main`; takes the event log, the registry
and a backend; gives a routing table, aliases and rollout events.

Of several controllers one leads, and the others only read along, so that any can go on at once.
A turn reads the world before it acts, and carries a step out in a fixed order: traffic first, then
the aliases, then the rollout event, which is the state. Killed between any two of these, the next
turn finds the state of before, plans the same step, sees that part of it is done, and does the
rest: no step is taken twice and none is left half-way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import structlog

from coppice import (
    artifact,
    clock,
    errors,
    eventlog,
    records,
    registry,
    settings,
    signals,
    telemetry,
)
from coppice.eventlog import base as eventlog_base
from coppice.registry import base as registry_base
from deploy import backends, facts, gate, http, plan, policy, succession, tables
from deploy.backends import base as backends_base
from deploy.recorder import Recorder

SOURCE = "coppice/deploy"

_log = structlog.get_logger(__name__)


class Controller:
    """Move one model's rollout.

    Parameters
    ----------
    log
        Where candidates, verdicts, commands and answers are read, and rollout events written.
    registry
        Where versions are found and aliases moved.
    backend
        Who routes.
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
        backend: backends_base.Backend,
        settings: settings.Settings,
        clock: clock.Clock,
        recorder: Recorder,
    ) -> None:
        self._log = log
        self._registry = registry
        self._backend = backend
        self._clock = clock
        self._recorder = recorder
        self._poll_seconds = settings.rollout.poll_seconds
        self._policy = policy.Policy.of(settings, backend.supports())
        self._position = eventlog_base.START
        self._history = facts.History(
            settings.project.name, since=_stage_began(log, settings.project.name)
        )
        self._unusable: set[str] = set()
        self._reported_generation = 0
        # Only a replica can lag; the one log of a machine has every event at once.
        replica = settings.events.backend == "kafka"
        self._patience = succession.PATIENCE_SECONDS if replica else 0.0
        self._lead: succession.Lead | None = None
        self._seen: tuple[float, gate.View] | None = None
        self._tend_seconds = settings.cluster.tend_seconds
        self._tended: float | None = None

    def run(self, stop: Callable[[], bool]) -> None:
        """Take turns until `stop` says so; one that raises is counted, logged and tried again."""
        while not stop():
            try:
                moved = self.turn() is not None
            except Exception as cause:  # noqa: BLE001 - the outermost turn; the next look may do
                self._recorder.failed(cause)
                _log.exception("turn_failed", error=str(cause))
                moved = False
            if not moved:
                self._backend.wait(self._poll_seconds, self._clock)

    def turn(self) -> plan.Step | None:
        """Read the log and the world, decide, and carry out at most one step.

        Returns
        -------
        Step or None
            What was done; by a controller that does not lead, nothing, and none either while pods
            that a step needs become ready.
        """
        began = self._clock.monotonic()
        self._read()
        state = self._history.state
        seen = self._facts()
        leads = self._acts(state, seen)
        step = plan.plan(state, seen, self._policy, self._clock.now()) if leads else None
        if leads and plan.edited(state, seen, self._policy, step):
            self._report_edit(seen)
        if leads and step is None:
            self._tend()
        routed = seen.table
        if step is not None:
            step = step if self._carry_out(step) else None
            routed = self._backend.observe().table
        if step is not None:
            state = step.rollout
        self._recorder.saw(state, routed, waiting=self._history.waiting is not None)
        self._seen = began, gate.View.of(self._history, routed, auto=self._policy.auto)
        return step

    def view(self, max_age: float) -> gate.View | None:
        """Return what the last turn knew, for the doors; see `http.Source`."""
        seen = self._seen
        if seen is None or self._clock.monotonic() - seen[0] > max_age:
            return None
        return seen[1]

    def _acts(self, state: records.Rollout | None, seen: facts.Facts) -> bool:
        if not self._backend.leads():
            self._lead = None
            return False
        world = 0 if seen.table is None else seen.table.generation
        known = 0 if state is None else state.generation
        before, now = self._lead, self._clock.monotonic()
        self._lead = succession.lead(before, behind=world > known, patience=self._patience, now=now)
        if world > known and self._lead != before:
            waits = not self._lead.acts
            _log.warning("log_behind_routes", log=known, routes=world, leader_waits=waits)
        return self._lead.acts

    def _read(self) -> None:
        while True:
            batch = self._log.read(self._position)
            for event in batch.events:
                self._take_in(event)
            self._position = batch.position
            if not batch.events:
                return

    def _take_in(self, event: records.Event) -> None:
        try:
            self._history.add(event)
        except errors.UndecodableEvent as cause:
            self._recorder.passed_over()
            _log.warning("event_passed_over", id=event.id, reason=str(cause))

    def _facts(self) -> facts.Facts:
        route, state, waiting = self._backend.observe(), self._history.state, self._history.waiting
        versions = [None if waiting is None else waiting.record.version]
        if state is not None:
            versions += [state.champion, state.candidate, state.previous]
        if route.table is not None:
            versions += [route.table.champion, route.table.candidate]
        manifests = {version: self._manifest(version) for version in versions if version}
        parents = {
            version: manifest.parent
            for version, manifest in manifests.items()
            if manifest is not None
        }
        return self._history.facts(route=route, parents=parents)

    def _manifest(self, version: str) -> artifact.Manifest | None:
        try:
            return artifact.read_manifest(self._registry.path(version))
        except (errors.UnknownVersion, errors.ArtifactError) as cause:
            if version not in self._unusable:
                self._unusable.add(version)
                _log.warning("version_unusable", version=version, reason=str(cause))
            return None

    def _report_edit(self, seen: facts.Facts) -> None:
        table = seen.table
        if table is not None and table.generation != self._reported_generation:
            self._reported_generation = table.generation
            self._recorder.found_edit()
            _log.warning("routing_table_edited", table=msgspec.to_builtins(table))

    def _tend(self) -> None:
        now = self._clock.monotonic()
        if self._tended is None or now - self._tended >= self._tend_seconds:
            self._tended = now
            told = self._backend.tend()
            if told:
                _log.info("stragglers_told", count=told)

    def _carry_out(self, step: plan.Step) -> bool:
        """Carry a step out; false where the routes are on their way, and the next turn goes on."""
        if not self._route(step):
            return False
        if step.steer is not None:
            self._backend.steer(step.steer)
        self._registry.point(step.rollout.model, step.aliases)
        event = records.seal(step.rollout, source=SOURCE, now=self._clock.now())
        self._log.append([event])
        self._recorder.decided(step.rollout)
        _log.info("rollout_step", **msgspec.to_builtins(step.rollout))
        return True

    def _route(self, step: plan.Step) -> bool:
        table = self._backend.observe().table
        if self._policy.judges or tables.same(table, step.table):
            return True
        if table is not None and tables.same(backends_base.without_candidate(table), step.table):
            # The quickest way back to the champion, and for some backends the only one.
            return tables.same(self._backend.abort(step.rollout.reason).table, step.table)
        return self._backend.apply(step.table)


def _stage_began(log: eventlog_base.IndexedLog, model: str) -> float:
    event = log.latest(model, records.Rollout)
    record = None if event is None else records.unseal(event)
    return record.since if isinstance(record, records.Rollout) else 0.0


def main(tree: settings.Settings) -> None:
    """Run the controller of a project until SIGTERM or SIGINT."""
    telemetry.configure("deploy")
    stop = signals.stop_requested()
    recorder = Recorder(tree.project.name)
    recorder.serve(tree.metrics.host, tree.rollout.metrics_port)
    with (
        contextlib.closing(eventlog.open_log(tree)) as log,
        contextlib.closing(backends.open_backend(tree)) as backend,
    ):
        time = clock.SystemClock()
        versions = registry.open_registry(tree)
        controller = Controller(log, versions, backend, tree, time, recorder)
        with http.opened(http.Doors(controller, log, tree, time, recorder), tree.rollout):
            controller.run(stop)
