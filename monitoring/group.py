"""Several monitors that share the work: one member of a group, and its part in judging.

Called by `coppice monitor` where `monitor.group` is set; takes the partitions that the group
gives it; gives facts about them, and, where it holds the one partition of the facts, verdicts.

A turn asks for records (and learns meanwhile what it holds), tells the facts of its partitions
(`monitoring.member`), and folds and judges if that is its part (`monitoring.aggregate`). Each
member's pages show what was announced (`monitoring.desk`), also while no broker is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

import structlog

from coppice import clock as clocks
from coppice import errors, eventlog, pages, registry, signals, telemetry
from coppice import settings as settings_tree
from coppice.eventlog import base as eventlog_base
from coppice.eventlog import envelope, outage, retention
from coppice.registry import base as registry_base
from monitoring import feed, http
from monitoring.aggregate import Aggregator
from monitoring.conclude import Conclusions
from monitoring.desk import Desk
from monitoring.knowledge import Scorings
from monitoring.member import Member
from monitoring.recorder import Recorder
from monitoring.versions import Versions

POLL_SECONDS = 0.2
WAIT_SECONDS = 1.0
"""Pause between two looks for a broker."""

_CLIENT = outage.Trust("monitor", errors.MemberStuck)
_log = structlog.get_logger(__name__)


class GroupMonitor:
    """Watch one model, together with others.

    Parameters
    ----------
    source
        Where records come from and facts go.
    log
        This machine's log, where verdicts are written and inputs to replay are found.
    versions
        Where they are found.
    settings
        The project's settings.
    clock
        Where the time comes from.
    desk
        What the pages show, and where metrics go.
    """

    def __init__(
        self,
        source: feed.Feed,
        log: eventlog_base.IndexedLog,
        versions: registry_base.Registry,
        settings: settings_tree.Settings,
        clock: clocks.Clock,
        desk: Desk,
    ) -> None:
        self._feed = source
        self._log = log
        self._settings = settings
        self._clock = clock
        self._desk = desk
        self._recorder = desk.recorder
        self._versions = Versions(versions, settings)
        self._scorings = Scorings(self._versions)
        self._said = Conclusions(log, self._versions, settings, clock, desk.recorder)
        self._member = Member(source, settings, self._scorings, clock, self._said.failed)
        self._aggregator: Aggregator | None = None
        source.join(self)

    def run(self, stop: Callable[[], bool]) -> None:
        """Take turns until `stop` says so, then hand everything over.

        Raises
        ------
        MemberStuck
            The cluster did not answer, or did not acknowledge facts, by the deadline. Only a new
            process can be trusted to go on; what was not acknowledged is read and told again.
        """
        with _CLIENT.kept():
            while not stop():
                self.turn()
        self.revoked()

    def turn(self) -> int:
        """Take in what is new, and judge; return the number of records taken in."""
        started = self._clock.monotonic()
        letters = self._feed.poll(POLL_SECONDS)
        for letter in letters:
            if letter.topic != envelope.FACTS:
                self._member.take(letter)
            elif self._aggregator is not None:
                self._aggregator.take(letter)
        self._member.turn()
        if self._aggregator is not None:
            self._aggregator.turn()
        self._desk.look(self._said.status() if self._aggregator is not None else None)
        self._record(self._clock.monotonic() - started)
        return len(letters)

    def assigned(self, places: Collection[feed.Place]) -> Mapping[feed.Place, int]:
        """Take over places; see `feed.Owner`."""
        numbers = {number for kind, number in places if kind != envelope.FACTS}
        offsets = dict(self._member.own(numbers))
        if (envelope.FACTS, 0) in places:
            self._aggregator = Aggregator(
                self._settings,
                self._versions,
                self._scorings,
                self._said,
                self._clock,
                partitions=self._feed.partitions(),
            )
            offsets[envelope.FACTS, 0] = self._aggregator.offset
        judges = self._aggregator is not None
        _log.info("partitions_assigned", partitions=sorted(numbers), judges=judges)
        return offsets

    def revoked(self) -> None:
        """Hand everything over; see `feed.Owner`."""
        self._member.release()
        if self._aggregator is not None:
            self._aggregator.save()
            self._aggregator = None

    def _record(self, seconds: float) -> None:
        events, oddities = self._member.counts()
        judge = self._aggregator
        self._recorder.took(events, oddities, seconds=seconds)
        self._recorder.shared(self._member.owned, self._member.sent)
        if judge is not None:
            self._recorder.gathered(
                judge.folded, judge.ordering.late, judge.ordering.duplicates, judge.lag()
            )
        self._recorder.succeeded(self._clock.now(), caught_up=judge is None or judge.is_caught_up())


class ClosingFeed(feed.Feed, Protocol):
    """A feed that holds connections."""

    def close(self) -> None:
        """Leave the group and let go of the connections."""
        ...


class Cluster(NamedTuple):
    """The cluster, before it is read."""

    reachable: Callable[[], bool]
    """Whether any broker is there; cheap."""
    connect: Callable[[Callable[[], bool]], ClosingFeed]
    """Takes a function that says whether it is time to end."""


def main(settings: settings_tree.Settings, cluster: Cluster) -> None:
    """Run a member of the group until SIGTERM or SIGINT; a stuck client ends it on the spot.

    Raises
    ------
    EnvironmentProblem
        Its port is taken, or the folder of the group cannot be written.
    EventLogError
        The event log cannot be opened, or the topics will not do.
    """
    telemetry.silence()
    telemetry.configure("monitor")
    stop = signals.stop_requested()
    clock = clocks.SystemClock()
    log = eventlog.open_log(settings)
    model, door = settings.project.name, settings.monitor
    desk = Desk(log, settings, clock, Recorder(model))
    try:
        # A single monitor's mark would keep every event from then on; none reads this log whole.
        log.forget("monitor")
        with (
            pages.served(http.app(desk, model, clock), door.host, door.port, table="monitor"),
            retention.running(log, settings),
        ):
            if not _await(cluster, desk, clock, stop):
                return
            with _CLIENT.made():
                source = cluster.connect(stop)
            versions = registry.open_registry(settings)
            GroupMonitor(source, log, versions, settings, clock, desk).run(stop)
            source.close()
    except errors.MemberStuck as problem:
        _log.error("member_stuck", error=str(problem))
        signals.end_at_once(problem.exit_code)
    finally:
        log.close()


def _await(cluster: Cluster, desk: Desk, clock: clocks.Clock, stop: Callable[[], bool]) -> bool:
    """Wait until a broker is there; say whether one is, rather than that it is time to stop."""
    lookout = outage.Lookout(cluster.reachable)
    while not lookout.look():
        desk.look()
        if stop():
            return False
        clock.sleep(WAIT_SECONDS)
    return True
