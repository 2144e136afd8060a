"""What a process does while its cluster is gone, and once Kafka's client fails it.

While no broker is there it waits, and makes no client (ADR 0011). A client that failed once is not
used again: the process ends, and the next one has a fresh client.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import structlog

from coppice import errors
from coppice.eventlog import brokers

_log = structlog.get_logger(__name__)


class Lookout:
    """Looks whether any broker is there; an outage is logged once.

    Parameters
    ----------
    reachable
        Whether any broker is there; cheap.
    """

    def __init__(self, reachable: Callable[[], bool]) -> None:
        self._reachable = reachable
        self._vain = 0

    def look(self) -> bool:
        """Say whether any broker is there now."""
        if self._reachable():
            self._vain = 0
            return True
        if not self._vain:
            _log.warning("no_broker", hint="waiting; nothing is lost meanwhile")
        self._vain += 1
        return False

    @property
    def pause(self) -> float:
        """How long to wait before the next look, seconds; 0 where the last one found a broker."""
        return brokers.pause(self._vain) if self._vain else 0.0


class Trust(NamedTuple):
    """How far a process trusts its client: until it first fails.

    Attributes
    ----------
    process
        What ends, as its errors name it.
    stuck
        The error that ends it.
    spared
        Errors that are no fault of the client, and pass.
    """

    process: str
    stuck: type[errors.EventLogError]
    spared: tuple[type[errors.EventLogError], ...] = ()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Use the client inside the block; where it fails, raise what ends the process."""
        try:
            yield
        except self.spared:
            raise
        except errors.EventLogError as problem:
            raise self.lost(problem) from problem

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Make the client inside the block; like `kept`, but for what is no fault of it.

        What the client did not raise, such as topics that will not do, no fresh client changes.
        """
        try:
            yield
        except errors.EventLogError as problem:
            if problem.__cause__ is None:
                raise
            raise self.lost(problem) from problem

    def lost(self, reason: object) -> errors.EventLogError:
        """Return what ends the process, for a reason."""
        message = f"{reason}; the {self.process} ends, to be started again with a fresh client"
        return self.stuck(message)
