"""Retention: how old and how large the log may grow, decided purely and carried out thinly.

Only the bulky kinds are removed (predictions, feedback, shadow answers, measurements), oldest
first. Decisions (candidates, verdicts, retrainings, rollout steps, commands) stay for ever: they
are few, and the loop is rebuilt from them. Nothing is removed that a registered reader, or one that
must be there by the settings, has not read.

The owner is the monitor process: it always runs, and it is the one reader that needs the most. The
server's own outbox, where there is one, is kept small by the relay that empties it.
Removed events make room inside the file for new ones; the file itself does not shrink.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import structlog

from coppice import clock as clocks
from coppice import errors, settings
from coppice.eventlog import base
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.sqlite import SqliteLog

CHUNK = 500
"""Events removed in one transaction; bounds how long a commit waits for it."""
ROUNDS = 200
"""Most chunks per turn."""
TURN_SECONDS = 60.0
DAY_SECONDS = 86_400.0

RELAY = "relay"
"""The reader that ships local events to Kafka."""

Age: TypeAlias = tuple[int, float]
"""Sequence number and time of an event, seconds since 1970 UTC."""

_log = structlog.get_logger(__name__)


class Rules(NamedTuple):
    """What the settings ask for."""

    max_age_seconds: float | None = None
    max_bytes: int | None = None
    required: frozenset[str] = frozenset({"monitor"})
    """Readers without whose position nothing is removed."""

    @classmethod
    def of(cls, tree: settings.Settings) -> Rules:
        """Take the rules for the log out of the settings; with Kafka, the relay reads it too.

        Monitors that share their work read Kafka instead, and leave no mark in any log.
        """
        events = tree.events
        days = events.retention_days
        readers = set() if tree.monitor.group else {"monitor"}
        if events.backend == "kafka":
            readers.add(RELAY)
        return cls(
            max_age_seconds=None if days is None else days * DAY_SECONDS,
            max_bytes=events.retention_bytes,
            required=frozenset(readers),
        )

    @classmethod
    def of_outbox(cls, tree: settings.Settings) -> Rules:
        """Take the rules for the server's outbox out of the settings; only the relay reads it."""
        return cls.of(tree)._replace(required=frozenset({RELAY}))

    @property
    def bounded(self) -> bool:
        """Whether anything is ever removed."""
        return self.max_age_seconds is not None or self.max_bytes is not None


def floor(readers: Mapping[str, base.Position], required: frozenset[str]) -> int:
    """Return the last sequence number that everybody has read.

    >>> floor({"monitor": "7", "relay": "5"}, frozenset({"monitor"}))
    5
    >>> floor({"relay": "5"}, frozenset({"monitor"}))
    0
    """
    if not required <= readers.keys():
        return 0
    return min((base.decode_position(position) for position in readers.values()), default=0)


def plan(
    ages: Sequence[Age], used_bytes: int, read_up_to: int, rules: Rules, now: float
) -> int | None:
    """Say up to which sequence number to remove; `None` where all stays.

    Parameters
    ----------
    ages
        The oldest events that may go, in log order.
    used_bytes
        Size of what is stored.
    read_up_to
        From `floor`.
    rules
        How old and how large the log may be.
    now
        Seconds since 1970 UTC.

    Examples
    --------
    >>> plan([(2, 10.0), (3, 50.0)], 0, 9, Rules(max_age_seconds=60.0), now=100.0)
    2
    >>> plan([(2, 10.0), (3, 50.0)], 4096, 9, Rules(max_bytes=1024), now=100.0)
    3
    >>> plan([(2, 999.0), (3, 10.0), (4, 999.0)], 0, 9, Rules(max_age_seconds=60.0), now=100.0)
    3
    """
    too_large = rules.max_bytes is not None and used_bytes > rules.max_bytes
    oldest = float("-inf") if rules.max_age_seconds is None else now - rules.max_age_seconds
    last = None
    for seq, time in ages:
        if seq > read_up_to:
            break
        if too_large or time < oldest:
            last = seq
        elif time <= now:
            break
        # An event of a time to come holds up none behind it: its clock was ahead.
    return last


class Retention:
    """Carries the plan out, chunk by chunk.

    Parameters
    ----------
    log
        The log that is kept small.
    rules
        How old and how large it may be.
    clock
        Where the time comes from.
    """

    def __init__(self, log: SqliteLog, rules: Rules, clock: clocks.Clock) -> None:
        self._log = log
        self._rules = rules
        self._clock = clock
        # Up to here only decisions are left, which need not be passed by again.
        self._swept = base.START

    def turn(self) -> int:
        """Remove what may go, and return how many events that were."""
        removed = 0
        for _ in range(ROUNDS):
            ages = self._log.ages(self._swept, CHUNK)
            read_up_to = floor(self._log.readers(), self._rules.required)
            last = plan(ages, self._log.used_bytes(), read_up_to, self._rules, self._clock.now())
            if last is None:
                break
            removed += self._log.remove(self._swept, last)
            self._swept = str(last)
        if removed:
            _log.info("events_removed", events=removed, used_bytes=self._log.used_bytes())
        return removed


@contextlib.contextmanager
def running(
    log: SqliteLog | MemoryLog, tree: settings.Settings, rules: Rules | None = None
) -> Iterator[None]:
    """Keep a log within bounds for the length of a `with` block, on a thread.

    Parameters
    ----------
    log
        The log.
    tree
        The settings.
    rules
        The bounds; by default those of the log that every process but the server works on.
    """
    rules = rules or Rules.of(tree)
    if not rules.bounded or not isinstance(log, SqliteLog):
        yield
        return
    done = threading.Event()
    keeper = Retention(log, rules, clocks.SystemClock())
    thread = threading.Thread(target=_keep, args=(keeper, done), name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _keep(keeper: Retention, done: threading.Event) -> None:
    while not done.is_set():
        try:
            keeper.turn()
        except errors.EventLogError as problem:
            # A busy or full disk passes; nothing was removed that should not be.
            _log.warning("retention_failed", error=str(problem))
        done.wait(TURN_SECONDS)
