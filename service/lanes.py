"""Versions in memory, and which of them serve: load, warm, check, then flip.

A thread watches the routing table: the state of the file that its name leads to, so that one that
is replaced and one whose folder a cluster swaps behind a link are seen alike. When it changes,
whatever is missing is loaded, warmed and checked in the background; then, in one step on the event
loop, the new lanes are in force and versions that are no longer named are closed behind their last
answer. No request is dropped.

What cannot be loaded never takes traffic. A broken champion leaves the old lanes in force; a broken
candidate or parent leaves its own place empty, and the requests drawn for it say so in the log.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

from coppice import artifact, clock, errors, records, routing, settings
from coppice.registry import base
from service import recorder, versions

POLL_SECONDS = 0.2
RETRY_SECONDS = 2.0
"""Pause before something that could not be loaded, or is not there yet, is tried again."""

_LOG = structlog.get_logger()


class Lanes(NamedTuple):
    """The lanes in force: a routing table, and the versions that it names as far as they load."""

    table: routing.RoutingTable
    champion: versions.Version
    candidate: versions.Version | None = None
    parent: versions.Version | None = None
    previous: versions.Version | None = None

    def loaded(self) -> dict[str, versions.Version]:
        """Return the versions in memory by part."""
        parts = ("champion", "candidate", "parent", "previous")
        found = {part: getattr(self, part) for part in parts}
        return {part: version for part, version in found.items() if version is not None}

    def lane_of(self, name: str) -> records.Lane | None:
        """Return the lane of a version, given its tag or id; `None` where it has none."""
        table = self.table
        if name in {table.champion, _id(table.champion)}:
            return "stable"
        if table.candidate is not None and name in {table.candidate, _id(table.candidate)}:
            return "canary"
        return None


def _id(tag: str) -> str:
    return tag.partition(":")[2]


class CrashGuard:
    """Shuts the canary lane after so many failures of the candidate in a row.

    >>> guard = CrashGuard(limit=2)
    >>> guard.failed("m:2"), guard.failed("m:2"), guard.open("m:2"), guard.open("m:3")
    (False, True, False, True)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tag: str | None = None
        self._failures = 0

    def failed(self, tag: str) -> bool:
        """Note a failure; `True` when it is the one that shuts the lane."""
        self._failures = self._failures + 1 if tag == self._tag else 1
        self._tag = tag
        return self._failures == self._limit

    def succeeded(self, tag: str) -> None:
        """Note an answer."""
        if tag == self._tag and self._failures < self._limit:
            self._failures = 0

    def open(self, tag: str) -> bool:
        """Say whether this candidate may answer."""
        return tag != self._tag or self._failures < self._limit

    def renew(self, tag: str | None) -> None:
        """Forget a candidate once it is no longer in the routing table."""
        if tag != self._tag:
            self._tag, self._failures = None, 0


class Switchboard:
    """Keeps the lanes in step with the routing table.

    Parameters
    ----------
    tree
        The settings.
    registry
        Where aliases stand in for a routing table as long as there is none.
    load
        Brings versions into memory.
    loop
        The event loop on which lanes are flipped.
    metrics
        Shows generation and versions.
    time
        The clock.
    """

    def __init__(
        self,
        tree: settings.Settings,
        *,
        registry: base.Registry,
        load: versions.Load,
        loop: asyncio.AbstractEventLoop,
        metrics: recorder.Recorder,
        time: clock.Clock,
    ) -> None:
        self._clock = time
        self._model = tree.project.name
        self._path = tree.routing_path
        self._handed = tree.serve.routing_file is not None
        self._initial = tree.serve.initial.replace("@", ":")
        self._registry = registry
        self._load = load
        self._loop = loop
        self._metrics = metrics
        self._stop = threading.Event()
        self.tried = threading.Event()
        """Set once the first routing table was taken over, or could not be."""
        self._thread = threading.Thread(target=self._watch, name="lanes", daemon=True)
        self._seen: object = self  # no file's stamp
        self._retry_at = 0.0
        self.lanes: Lanes | None = None
        self.broken: dict[str, str] = {}
        """Why a version that the routing table names is not in memory, by tag."""
        self.guard = CrashGuard(tree.serve.crash_guard)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching, and close every version behind what waits for it."""
        self._stop.set()
        self._thread.join(timeout=10.0)
        loaded = self.lanes.loaded().values() if self.lanes else ()
        for version in set(loaded):
            version.close()
            version.batcher.join(10.0)

    def in_force(self) -> Lanes:
        """Return the lanes in force.

        Raises
        ------
        NotReady
            There are none yet.
        """
        if self.lanes is None:
            reasons = "; ".join(f"{tag}: {reason}" for tag, reason in self.broken.items())
            message = f"{self._model!r} has no champion in memory: {reasons or 'still loading'}"
            raise errors.NotReady(message)
        return self.lanes

    def open(self) -> bool:
        """Say whether the canary lane may answer."""
        lanes = self.lanes
        candidate = lanes.table.candidate if lanes else None
        return candidate is not None and self.guard.open(candidate)

    def candidate_failed(self, tag: str) -> None:
        """Note that the candidate did not answer a request."""
        if self.guard.failed(tag):
            _LOG.error("canary lane shut: the candidate failed too often in a row", version=tag)
            self._metrics.canary_shut(shut=True)

    def _watch(self) -> None:
        while True:
            try:
                self.turn()
            except Exception as cause:  # noqa: BLE001 - the loop must go on
                _LOG.warning("routing table not taken over", error=str(cause) or repr(cause))
                self._metrics.load_failed()
            self.tried.set()
            if self._stop.wait(POLL_SECONDS):
                return

    def turn(self) -> None:
        """Take over the routing table if it changed, or if something was broken or missing.

        Raises
        ------
        EnvironmentProblem
            The file is not a routing table, or is another model's.
        UnknownVersion
            There is no table yet, and no version that the settings begin with.
        ArtifactError
            The champion cannot be loaded; the old lanes stay in force.
        """
        stamp = _stamp(self._path)
        incomplete = bool(self.broken) or self.lanes is None or stamp is None
        now = self._clock.monotonic()
        if stamp == self._seen and not (incomplete and now >= self._retry_at):
            return
        self._seen, self._retry_at = stamp, now + RETRY_SECONDS
        table = self._table()
        if table is None:
            self.broken = {self._model: "there is no accepted version yet; run `coppice prune`"}
            return
        if self.lanes is None or table.generation >= self.lanes.table.generation:
            self._take_over(table)

    def _table(self) -> routing.RoutingTable | None:
        try:
            table = self._written() or self._implied()
            self._check(table)
        except errors.CoppiceError as cause:
            if self.lanes is None:
                self.broken = {self._model: str(cause)}
            raise
        return table

    def _written(self) -> routing.RoutingTable | None:
        return routing.load_handed(self._path) if self._handed else routing.load(self._path)

    def _check(self, table: routing.RoutingTable | None) -> None:
        if table is not None and table.model != self._model:
            message = (
                f"{self._path} or serve.initial routes {table.model!r}, "
                f"but this server is {self._model!r}'s"
            )
            raise errors.EnvironmentProblem(message)

    def _implied(self) -> routing.RoutingTable | None:
        """Route by the settings, or by the registry's aliases, while there is no table yet."""
        if self._initial:
            tag = artifact.tag(self._registry.path(self._initial))
            return routing.RoutingTable(model=tag.partition(":")[0], champion=tag)
        champion = self._registry.aliases(self._model).get("champion")
        if champion is None:
            return None
        return routing.RoutingTable(model=self._model, champion=champion)

    def _take_over(self, table: routing.RoutingTable) -> None:
        old = {v.tag: v for v in (self.lanes.loaded().values() if self.lanes else ())}
        broken: dict[str, str] = {}
        fresh: list[versions.Version] = []

        def take(tag: str | None) -> versions.Version | None:
            known = {**old, **{version.tag: version for version in fresh}}
            if tag is None or tag in known:
                return known.get(tag or "")
            try:
                fresh.append(self._load(tag))
            except errors.CoppiceError as cause:
                broken[tag] = str(cause)
                self._metrics.load_failed()
                _LOG.error("version not loaded", version=tag, error=str(cause))
                return None
            return fresh[-1]

        champion = take(table.champion)
        if champion is None:
            self.broken = broken
            message = f"the champion {table.champion} cannot be loaded: {broken[table.champion]}"
            raise errors.ArtifactError(message)
        lanes = Lanes(
            table, champion, take(table.candidate), take(table.parent), take(table.previous)
        )
        if lanes != self.lanes or broken != self.broken:
            self._on_loop(lambda: self._flip(lanes, broken))

    def _on_loop(self, step: Callable[[], None]) -> None:
        """Run a step on the event loop and wait for it, so that requests see it whole."""
        done = threading.Event()

        def run() -> None:
            step()
            done.set()

        self._loop.call_soon_threadsafe(run)
        while not done.wait(0.1) and not self._stop.is_set():
            pass

    def _flip(self, lanes: Lanes, broken: dict[str, str]) -> None:
        before, self.lanes, self.broken = self.lanes, lanes, broken
        self.guard.renew(lanes.table.candidate)
        self._metrics.canary_shut(shut=lanes.table.candidate is not None and not self.open())
        self._metrics.generation(lanes.table.generation)
        now = lanes.loaded()
        for part, version in (before.loaded() if before else {}).items():
            if now.get(part) is not version:
                self._metrics.model(version.tag, part, present=False)
            if version not in now.values():
                version.close()
        for part, version in now.items():
            self._metrics.model(version.tag, part, present=True)
        _LOG.info(
            "lanes in force",
            generation=lanes.table.generation,
            broken=broken,
            **{part: version.tag for part, version in now.items()},
        )


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
