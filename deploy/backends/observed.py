"""GitOps: Git says what runs and a tool moves the traffic, so nothing in the cluster is patched.

What the pod template names is read and recorded, so that the monitor and the hooks judge the right
pair; `deploy.judging` has the rules. The lease is taken all the same: one controller records.
"""

from __future__ import annotations

from typing import Protocol

from coppice import clock, routing
from deploy.backends import base


class Named(base.Backend, Protocol):
    """A backend that can say what the pod template names, whoever wrote it there."""

    def named(self) -> base.RouteState:
        """Return the table in the pod template, and what the tool says."""
        ...


class ObservedBackend:
    """Look at a backend and change nothing.

    Parameters
    ----------
    seen
        What is looked at.
    """

    def __init__(self, seen: Named) -> None:
        self._seen = seen

    def observe(self) -> base.RouteState:
        """Read what the pod template names; see `base.Backend.observe`."""
        return self._seen.named()

    def apply(self, table: routing.RoutingTable) -> bool:
        """Write nothing; say whether Git asks for this table already."""
        return self.observe().table == table

    def abort(self, reason: str) -> base.RouteState:
        """Write nothing: the tool aborts when it asks for the verdict."""
        del reason
        return self.observe()

    def steer(self, action: base.Steering) -> None:
        """Do nothing: whoever writes to Git steers; see `base.Backend.steer`."""

    def tend(self) -> int:
        """Tell nobody; see `base.Backend.tend`."""
        return 0

    def supports(self) -> frozenset[base.Ability]:
        """Return what the backend can do, and that it only judges."""
        judges: frozenset[base.Ability] = frozenset({"judges"})
        return self._seen.supports() | judges

    def leads(self) -> bool:
        """Renew or take the lease, and say whether it is ours."""
        return self._seen.leads()

    def wait(self, seconds: float, clock: clock.Clock) -> None:
        """Wait for a change of what is looked at."""
        self._seen.wait(seconds, clock)

    def close(self) -> None:
        """Give the lease back."""
        self._seen.close()
