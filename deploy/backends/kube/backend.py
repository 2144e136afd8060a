"""What the backends of a cluster have in common, and those that let a tool move the traffic."""

from __future__ import annotations

import abc

from coppice import clock, routing
from deploy.backends import base
from deploy.backends.kube.changes import Changes, States
from deploy.backends.kube.client import Object
from deploy.backends.kube.connect import Parts
from deploy.backends.kube.workload import Workload, table_of


class ClusterBackend:
    """Lead by a lease, and wait for changes of one object.

    Parameters
    ----------
    parts
        How the cluster is reached, and who writes.
    states
        Begins to watch the object that somebody else changes.
    """

    def __init__(self, parts: Parts, states: States) -> None:
        self._client = parts.client
        self._lease = parts.lease
        self._portal = parts.portal
        self._changes = Changes(parts.portal, states)

    def leads(self) -> bool:
        """Renew or take the lease, and say whether it is ours."""
        return self._portal.call(self._lease.hold())

    def wait(self, seconds: float, clock: clock.Clock) -> None:
        """Wait for a change of the object; time in the cluster is the machine's."""
        del clock
        self._changes.wait(seconds)

    def close(self) -> None:
        """Give the lease back, so that another controller goes on at once."""
        self._changes.close()
        self._portal.call(self._lease.release())
        self._portal.call(self._client.close())
        self._portal.close()


class WorkloadBackend(ClusterBackend, abc.ABC):
    """Name the version in a workload; a tool that looks at it moves the traffic.

    Parameters
    ----------
    parts
        How the cluster is reached, and who writes.
    workload
        The object that the tool looks at, and where its pod template lies.
    """

    def __init__(self, parts: Parts, workload: Workload) -> None:
        super().__init__(parts, workload.watch)
        self._workload = workload

    def observe(self) -> base.RouteState:
        """Read the table, and how far the tool is; see `base.Backend.observe`."""
        return self._portal.call(self._observe())

    def named(self) -> base.RouteState:
        """Read what the pod template names, whoever wrote it there, and how far the tool is."""
        return self._portal.call(self._named())

    def apply(self, table: routing.RoutingTable) -> bool:
        """Ask for a newer table; see `base.Backend.apply`."""
        self._portal.call(self._workload.write(table))
        return True

    def abort(self, reason: str) -> base.RouteState:
        """Tell the tool to give the candidate up, where it can be told; put the template back."""
        self._portal.call(self._abort(reason))
        return self.observe()

    def tend(self) -> int:
        """Tell pods that started since; see `base.Backend.tend`."""
        return self._portal.call(self._workload.look_after())

    def supports(self) -> frozenset[base.Ability]:
        """Return that pods mirror inside themselves, and that the tool moves the traffic."""
        return frozenset({"mirror", "outside"})

    async def _abort(self, reason: str) -> None:
        owner = await self._workload.read()
        table = table_of(owner)
        if table is None or table.candidate is None:
            return
        await self._give_up(owner, table.candidate, reason)
        await self._workload.write(base.without_candidate(table), reason)

    @abc.abstractmethod
    async def _observe(self) -> base.RouteState: ...

    @abc.abstractmethod
    async def _named(self) -> base.RouteState: ...

    @abc.abstractmethod
    async def _give_up(self, owner: Object, candidate: str, reason: str) -> None: ...
