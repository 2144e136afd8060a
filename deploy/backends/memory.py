"""Routes in memory: the twin for tests and docs."""

from __future__ import annotations

from coppice import clock, routing
from deploy.backends import base


class MemoryBackend:
    """Keep the routing table in this object."""

    def __init__(self, table: routing.RoutingTable | None = None) -> None:
        self.leading = True
        """Whether `leads` says yes."""
        self.aborts: list[str] = []
        """The reasons of every abort, oldest first."""
        self.tended = 0
        """How often `tend` was called."""
        self._table = table

    def observe(self) -> base.RouteState:
        """Return the table."""
        return base.RouteState(self._table)

    def apply(self, table: routing.RoutingTable) -> bool:
        """Replace the table by a newer one; see `base.Backend.apply`."""
        base.refuse_older(table, self.observe())
        self._table = table
        return True

    def abort(self, reason: str) -> base.RouteState:
        """Drop the candidate; see `base.Backend.abort`."""
        self.aborts.append(reason)
        if self._table is not None and self._table.candidate is not None:
            self._table = base.without_candidate(self._table)
        return self.observe()

    def steer(self, action: base.Steering) -> None:
        """Do nothing: no tool moves these routes; see `base.Backend.steer`."""

    def tend(self) -> int:
        """Count how often it was asked; see `base.Backend.tend`."""
        self.tended += 1
        return 0

    def supports(self) -> frozenset[base.Ability]:
        """Return every ability."""
        return frozenset({"weights", "mirror"})

    def leads(self) -> bool:
        """Say what `leading` says."""
        return self.leading

    def wait(self, seconds: float, clock: clock.Clock) -> None:
        """Wait all the time: nobody but us writes these routes."""
        clock.sleep(seconds)

    def close(self) -> None:
        """Do nothing."""
