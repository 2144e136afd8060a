"""The relay: what happened on this machine, on its way to the log that all machines share.

Called by `coppice relay`, as a process of its own. Takes local logs and a way to open the shared
one; gives it each local event at least once, in order for each request. A batch is read behind the
mark that the last one left, sent, acknowledged as a whole, and only then marked; whatever ends the
relay in between makes it repeat that batch, and readers know events by their ids.

Kafka's client can spin for ever and resolve nothing (`coppice.eventlog.kafka`), so an append that
misses its deadline ends the whole process, and the supervisor starts another. So that a long outage
is no endless row of crashes, no client is made before a broker takes a TCP connection (ADR 0011).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from coppice import clock as clocks
from coppice import errors, records, signals, telemetry
from coppice.eventlog import base, outage
from service import outbox, relay_plan
from service.relay_recorder import Recorder

READER = "relay"
"""Name of the relay's mark in each local log."""

IDLE_SECONDS = 0.1
"""Pause after a turn that found nothing to send; also the longest before a signal is heeded."""

_CLIENT = outage.Trust("relay", errors.RelayStuck, spared=(errors.EventTooLarge,))
_LOG = structlog.get_logger()


class Source(Protocol):
    """A local log, as far as the relay needs it."""

    def read_local(self, after: base.Position, limit: int = ...) -> base.Batch:
        """Return events that were appended on this machine."""
        ...

    def backlog(self, after: base.Position) -> base.Backlog:
        """Return how much was appended on this machine behind a position."""
        ...

    def mark(self, reader: str, position: base.Position) -> None:
        """Note durably how far a reader has read."""
        ...

    def readers(self) -> dict[str, base.Position]:
        """Return the position of each reader."""
        ...


class Cluster(NamedTuple):
    """The shared log, before it is opened."""

    reachable: Callable[[], bool]
    """Whether any broker is there; cheap."""
    connect: Callable[[], base.EventLog]
    deadline_seconds: float
    """Longest time of one append of it."""


class Relay:
    """Sends what local logs hold to a cluster.

    Parameters
    ----------
    sources
        The local logs by name; each gets its turn.
    cluster
        Where the events go.
    recorder
        Counts and shows.
    clock
        Where the time comes from.
    stop
        Says whether to end; asked between batches.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        cluster: Cluster,
        *,
        recorder: Recorder,
        clock: clocks.Clock,
        stop: Callable[[], bool],
    ) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._clock = clock
        self._stop = stop
        self._lines = [_Line(name, source) for name, source in sources.items()]
        self._log: base.EventLog | None = None
        self._lookout = outage.Lookout(cluster.reachable)
        self._look_at = float("-inf")

    def run(self) -> None:
        """Send until asked to stop, then what waits at that moment, where a broker is there.

        Beside a server that has ended nothing is left behind that way, on a disk that may go too.

        Raises
        ------
        RelayStuck
            The cluster missed the deadline. Only a new process can be trusted to go on.
        """
        while not self._stop():
            if not self.turn():
                self._rest(self._lookout.pause or IDLE_SECONDS)
        if self._log is not None:
            if self._cluster.reachable():
                self._finish(self._log)
            self._log.close()

    def drain(self) -> None:
        """Send what waits, then stop; also stops when asked to. Raises like `run`."""
        while not self._stop() and any(line.backlog().events for line in self._lines):
            if not self.turn():
                self._rest(self._lookout.pause or IDLE_SECONDS)
        if self._log is not None:
            self._log.close()

    def turn(self) -> bool:
        """Send one batch of each local log; say whether there was anything to send."""
        self._look()
        log = self._open()
        if log is None:
            return False
        moved = 0
        for line in self._lines:
            # Each log gets its turn, however much another one has.
            moved += 0 if self._stop() else self._ship(line, log)
        return moved > 0

    def _finish(self, log: base.EventLog) -> None:
        """Send as much of each log as waits now; whoever still writes cannot keep us for ever."""
        for line in self._lines:
            try:
                waiting = line.backlog().events
            except errors.EventLogError as problem:
                self._local_trouble(line, problem)
                continue
            while waiting > 0 and (sent := self._ship(line, log)):
                waiting -= sent

    def _open(self) -> base.EventLog | None:
        """Return the cluster's log, made once a broker is there; `None` until then."""
        if self._log is None:
            there = self._lookout.look()
            self._recorder.waiting(waits=not there)
            if not there:
                return None
            with _CLIENT.kept():
                self._log = self._cluster.connect()
            _LOG.info("relaying", logs=[line.name for line in self._lines])
        return self._log

    def _ship(self, line: _Line, log: base.EventLog) -> int:
        """Send one batch of a log; return how many events that was."""
        try:
            batch = line.read()
        except errors.EventLogError as problem:
            self._local_trouble(line, problem)
            return 0
        if not batch.events:
            line.cursor = batch.position
            return 0
        began = self._clock.monotonic()
        for wave in relay_plan.waves(batch.events):
            self._send(wave, log)
        sent = relay_plan.Sent(
            events=len(batch.events),
            payload=sum(len(event.data) for event in batch.events),
            seconds=self._clock.monotonic() - began,
        )
        line.size = relay_plan.next_size(line.size, sent, self._cluster.deadline_seconds)
        line.cursor = batch.position
        self._mark(line)
        return len(batch.events)

    def _send(self, events: Sequence[records.Event], log: base.EventLog) -> None:
        try:
            with _CLIENT.kept():
                log.append(events)
        except errors.EventTooLarge as problem:
            self._send_large(events, log, problem)
        else:
            self._recorder.relayed(len(events))

    def _send_large(
        self, events: Sequence[records.Event], log: base.EventLog, problem: errors.EventTooLarge
    ) -> None:
        """Send events one by one, those that are too large without their inputs."""
        if len(events) > 1:
            for event in events:
                self._send([event], log)
            return
        (event,) = events
        with contextlib.suppress(errors.UndecodableEvent):
            bare = outbox.without_inputs(event)
            if bare is not event:
                self._recorder.stripped()
                self._send([bare], log)
                return
        self._recorder.refused()
        _LOG.error("event_refused", id=event.id, type=event.type, why=str(problem))

    def _mark(self, line: _Line) -> None:
        try:
            line.mark()
        except errors.EventLogError as problem:
            # What was sent stays sent; without the mark a new relay would only repeat it.
            self._local_trouble(line, problem)

    def _local_trouble(self, line: _Line, problem: errors.EventLogError) -> None:
        self._recorder.log_failed()
        _LOG.warning("log_failed", log=line.name, error=str(problem))

    def _look(self) -> None:
        began = self._clock.monotonic()
        if began < self._look_at:
            return
        for line in self._lines:
            try:
                self._recorder.waits(line.name, line.backlog(), self._clock.now())
                if line.marked != line.cursor:
                    # Behind what came from Kafka, so that this may be removed.
                    line.mark()
            except errors.EventLogError as problem:
                self._local_trouble(line, problem)
        now = self._clock.monotonic()
        self._look_at = now + relay_plan.look_pause(now - began)

    def _rest(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while not self._stop() and (left := until - self._clock.monotonic()) > 0:
            self._clock.sleep(min(left, IDLE_SECONDS))


class _Line:
    """A local log, how far it is relayed, and how much of it is read at once."""

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self.size = relay_plan.FIRST
        self._source = source
        readers = source.readers()
        self.cursor = self.marked = readers.get(READER, base.START)
        if READER not in readers:
            # From the first start on, nothing may be removed that was not relayed.
            self.mark()

    def read(self) -> base.Batch:
        return self._source.read_local(self.cursor, self.size)

    def backlog(self) -> base.Backlog:
        return self._source.backlog(self.cursor)

    def mark(self) -> None:
        self._source.mark(READER, self.cursor)
        self.marked = self.cursor


def main(
    sources: Mapping[str, Source],
    cluster: Cluster,
    *,
    recorder: Recorder,
    host: str,
    port: int,
    once: bool = False,
) -> None:
    """Relay until SIGTERM or SIGINT; a stuck cluster ends the process on the spot.

    Parameters
    ----------
    sources
        The local logs by name.
    cluster
        Where the events go.
    recorder
        Counts and shows.
    host
        Address of /metrics.
    port
        Port of /metrics; 0 does not serve them.
    once
        Whether to end as soon as nothing waits.
    """
    telemetry.configure("relay")
    stop = signals.stop_requested()
    recorder.serve(host, port)
    relay = Relay(sources, cluster, recorder=recorder, clock=clocks.SystemClock(), stop=stop)
    try:
        relay.drain() if once else relay.run()
    except errors.RelayStuck as problem:
        recorder.stuck()
        _LOG.error("relay_stuck", error=str(problem))
        signals.end_at_once(problem.exit_code)
