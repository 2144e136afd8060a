"""Routes on one machine: the routing table is a file that our own router reads.

Writers take turns by a lock on a file beside it, so that comparing generations and replacing the
table are one step. The lock is the operating system's: it ends with the process that holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import structlog

from coppice import clock, routing
from deploy.backends import base

_log = structlog.get_logger(__name__)


class LocalBackend:
    """Keep the routing table in a file.

    Parameters
    ----------
    path
        Where the router looks for it; see `coppice.settings.Settings.routing_path`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def observe(self) -> base.RouteState:
        """Read the file; see `base.Backend.observe`."""
        return base.RouteState(routing.load(self._path))

    def apply(self, table: routing.RoutingTable) -> bool:
        """Replace the file by a newer table; see `base.Backend.apply`."""
        with self._turn():
            base.refuse_older(table, self.observe())
            routing.save(self._path, table)
        return True

    def abort(self, reason: str) -> base.RouteState:
        """Drop the candidate; see `base.Backend.abort`."""
        with self._turn():
            table = self.observe().table
            if table is not None and table.candidate is not None:
                _log.warning("routes_aborted", candidate=table.candidate, reason=reason)
                routing.save(self._path, base.without_candidate(table))
        return self.observe()

    def steer(self, action: base.Steering) -> None:
        """Do nothing: no tool moves these routes; see `base.Backend.steer`."""

    def tend(self) -> int:
        """Tell nobody: every process reads the one file; see `base.Backend.tend`."""
        return 0

    def supports(self) -> frozenset[base.Ability]:
        """Return every ability: our own router weighs and mirrors."""
        return frozenset({"weights", "mirror"})

    def leads(self) -> bool:
        """Return true: writers take turns, and the later one sees what the earlier one wrote."""
        return True

    def wait(self, seconds: float, clock: clock.Clock) -> None:
        """Wait all the time: nobody but us writes these routes."""
        clock.sleep(seconds)

    def close(self) -> None:
        """Do nothing: a file needs no goodbye."""

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
