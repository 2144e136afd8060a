"""The follower's loop: records out of Kafka, events into this machine's log.

Called by `coppice follow`, as a process of its own. Takes the log and a way to read the cluster;
gives the log every event of the cluster once, in the order that Kafka keeps for each request.

A batch and the offsets behind it are committed in one transaction, so whatever ends the follower,
the next one begins exactly where the log ends: nothing is lost, and nothing counted twice. A record
that is no event goes to the dead letters before its offset is committed.

Where the cluster is gone it waits. Where a broker is there, but Kafka's client gets nowhere, the
process ends, to be started again with a fresh client.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import structlog

from coppice import clock as clocks
from coppice import errors, signals, telemetry
from coppice.eventlog import base, envelope, outage
from coppice.eventlog.sqlite import SqliteLog
from coppice.follow import plan
from coppice.follow.recorder import Recorder

POLL_SECONDS = 0.5
"""Longest wait for records; also the longest before a signal is heeded."""
LOOK_SECONDS = 5.0
"""Pause between two looks at how much is still to be read."""
RETRY_SECONDS = 1.0
"""Pause before a batch that could not be stored is tried again."""

_CLIENT = outage.Trust("follower", errors.FollowerStuck)
_log = structlog.get_logger(__name__)


class Reader(Protocol):
    """A cluster, being read."""

    def poll(self, seconds: float) -> Sequence[envelope.Letter]:
        """Return new records, as soon as there are any."""
        ...

    def ends(self) -> base.Consumed:
        """Return the offset behind the last record of each partition."""
        ...

    def bury(self, letter: envelope.Letter, reason: str) -> None:
        """Put a record into its topic's dead letters."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


class Cluster(NamedTuple):
    """A cluster, before it is read."""

    reachable: Callable[[], bool]
    """Whether any broker is there; cheap."""
    connect: Callable[[base.Consumed], Reader]
    deadline_seconds: float
    """Longest time without an answer."""


class Follower:
    """Stores what a cluster holds.

    Parameters
    ----------
    log
        Where the events go, and the offsets.
    cluster
        Where they come from.
    recorder
        Counts and shows.
    clock
        Where the time comes from.
    """

    def __init__(
        self, log: SqliteLog, cluster: Cluster, *, recorder: Recorder, clock: clocks.Clock
    ) -> None:
        self._log = log
        self._cluster = cluster
        self._recorder = recorder
        self._clock = clock
        self._consumed = log.consumed()
        self._reader: Reader | None = None
        self._held: plan.Sorted | None = None
        self._lookout = outage.Lookout(cluster.reachable)
        self._look_at = float("-inf")
        self._progress = plan.Progress(0.0, 0.0)

    def run(self, stop: Callable[[], bool]) -> None:
        """Follow until asked to stop.

        Raises
        ------
        FollowerStuck
            Kafka's client gets nowhere. Only a new process can be trusted to go on.
        EventLogError
            The cluster lacks topics.
        """
        while not stop():
            self.turn()
        if self._reader is not None:
            self._reader.close()

    def catch_up(self, stop: Callable[[], bool]) -> None:
        """Follow as far as the cluster goes when it first answers, then stop; see `run`."""
        goal: base.Consumed | None = None
        while not stop() and (goal is None or any(plan.lags(self._consumed, goal).values())):
            self.turn()
            if goal is None and self._reader is not None:
                with _CLIENT.kept():
                    goal = self._reader.ends()
        if self._reader is not None:
            self._reader.close()

    def turn(self) -> None:
        """Store one batch, or wait for it; looks at the cluster from time to time."""
        reader = self._open()
        if reader is None:
            self._clock.sleep(self._lookout.pause)
            return
        if self._held is None:
            with _CLIENT.kept():
                letters = reader.poll(POLL_SECONDS)
            found = plan.sort(letters)
            for dead in found.dead:
                with _CLIENT.kept():
                    reader.bury(dead.letter, dead.reason)
                self._recorder.buried(dead.letter.topic)
            if letters:
                self._held = found
        self._store()
        self._look(reader)

    def _open(self) -> Reader | None:
        """Return the cluster's reader, made once a broker is there; `None` until then."""
        if self._reader is None:
            there = self._lookout.look()
            self._recorder.waiting(waits=not there)
            if not there:
                return None
            with _CLIENT.made():
                self._reader = self._cluster.connect(self._consumed)
            now = self._clock.monotonic()
            self._progress = plan.Progress(now, now)
            _log.info("following")
        return self._reader

    def _store(self) -> None:
        if self._held is None:
            return
        try:
            self._log.receive(self._held.events, self._held.consumed)
        except errors.EventLogError as problem:
            # A busy or full disk passes. The reader has gone on, so the batch is kept until then.
            self._recorder.failed(problem)
            _log.warning("not_stored", error=str(problem))
            self._clock.sleep(RETRY_SECONDS)
            return
        self._recorder.stored(len(self._held.events))
        self._consumed |= self._held.consumed
        self._held = None
        self._progress = self._progress._replace(moved=self._clock.monotonic())

    def _look(self, reader: Reader) -> None:
        """Measure the lag, and end where the client gets nowhere although a broker is there."""
        if self._clock.monotonic() < self._look_at:
            return
        there = self._cluster.reachable()
        self._recorder.waiting(waits=not there)
        if there:
            self._measure(reader)
        now = self._clock.monotonic()
        self._look_at = now + LOOK_SECONDS
        if not there:
            # It is the cluster that is gone: for a client that waits for it no time passes.
            self._progress = plan.Progress(now, now)
        # Looks are apart, and each may wait for its answer: a short deadline must not fall between.
        patience = self._cluster.deadline_seconds + 2 * LOOK_SECONDS
        reason = plan.stuck(self._progress, now, patience)
        if reason:
            raise _CLIENT.lost(reason)

    def _measure(self, reader: Reader) -> None:
        try:
            lags = plan.lags(self._consumed, reader.ends())
        except errors.EventLogError as problem:
            self._recorder.failed(problem)
            _log.warning("no_answer", error=str(problem))
            return
        now = self._clock.monotonic()
        moved = self._progress.moved if any(lags.values()) and not self._held else now
        self._progress = plan.Progress(heard=now, moved=moved)
        self._recorder.heard(lags, self._clock.now())


def main(
    log: SqliteLog,
    cluster: Cluster,
    *,
    recorder: Recorder,
    host: str,
    port: int,
    once: bool = False,
) -> None:
    """Follow until SIGTERM or SIGINT; a stuck client ends the process on the spot.

    Parameters
    ----------
    log
        Where the events go, and the offsets.
    cluster
        Where they come from.
    recorder
        Counts and shows.
    host
        Address of /metrics.
    port
        Port of /metrics; 0 does not serve them.
    once
        Whether to end as soon as what there is now is stored.
    """
    telemetry.configure("follow")
    stop = signals.stop_requested()
    recorder.serve(host, port)
    follower = Follower(log, cluster, recorder=recorder, clock=clocks.SystemClock())
    try:
        follower.catch_up(stop) if once else follower.run(stop)
    except errors.FollowerStuck as problem:
        _log.error("follower_stuck", error=str(problem))
        signals.end_at_once(problem.exit_code)
    finally:
        log.close()
