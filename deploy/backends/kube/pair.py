"""Two Deployments behind one route: which write comes next, so that a table comes true safely.

The stable Deployment answers with the champion, the candidate's with the candidate, and a route
gives each its share. A table is brought about one write at a time, and after each the cluster is
looked at anew; so it does not matter which process made the write before, or whether it lived to
see it done. What is held at every moment: traffic is given only to pods that are ready and answer
with the version that the share was meant for, and pods that bear traffic are not taken away.

The stable pods change their version without traffic: the candidate's pods answer with it for all,
the stable ones change, get the traffic back once they are ready, and the candidate's are put away.
That is a promotion, and the way back as well.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec

from coppice import routing
from deploy.backends.kube import pods
from deploy.backends.kube.client import Object

UNIT = 1000
"""Weights of the route add up to this: steps of a tenth of a percent."""


class Side(NamedTuple):
    """One of the two Deployments.

    Attributes
    ----------
    version
        What its pod template answers with; `None` where it says nothing of it.
    replicas
        How many pods it is asked to have.
    current
        Whether all its pods are of that template.
    available
        How many are ready.
    """

    version: str | None
    replicas: int
    current: bool
    available: int

    @property
    def bears(self) -> bool:
        """Whether pods of its version, and no others, can answer."""
        return self.current and self.available > 0

    @property
    def ready(self) -> bool:
        """Whether all its pods can answer."""
        return self.bears and self.available >= self.replicas


class World(NamedTuple):
    """What there is: the table that the route shows, its shares, and both sides.

    Attributes
    ----------
    table
        The table that was brought about last.
    shares
        What the candidate's side gets of each rule of the route, in [0, 1].
    """

    table: routing.RoutingTable | None
    shares: tuple[float, ...]
    stable: Side
    candidate: Side

    @property
    def share(self) -> float:
        """The largest share of the candidate's side."""
        return max(self.shares)

    @property
    def needed(self) -> int:
        """Pods that the candidate's side must have, so that it can bear all traffic."""
        return max(self.stable.replicas, 1)


class Say(NamedTuple):
    """Let the pods of a side answer with another version."""

    side: Literal["stable", "candidate"]
    text: str
    replicas: int | None = None


class Scale(NamedTuple):
    """Have so many pods on the candidate's side."""

    replicas: int


class Share(NamedTuple):
    """Give the candidate's side a share of the traffic."""

    share: float


class Note(NamedTuple):
    """Note on the route that the table is true."""


class Wait(NamedTuple):
    """Nothing can be done before pods are ready."""

    reason: str


Write: TypeAlias = Say | Scale | Share | Note | Wait


def following(world: World, table: routing.RoutingTable) -> Write | None:
    """Return the next write that brings a table about, or `None` once it is true.

    Parameters
    ----------
    world
        What there is now.
    table
        What is asked for.
    """
    if world.stable.version != table.champion:
        return _change_stable(world, table)
    if table.candidate is not None and world.candidate.version != table.candidate:
        if world.share > 0.0:
            return _to_stable(world, 0.0)
        told = msgspec.structs.replace(table, weight=1.0)
        return Say("candidate", pods.encode(told), world.needed)
    if table.candidate is not None and world.candidate.replicas < world.needed:
        return Scale(world.needed)
    if any(round(UNIT * (share - table.weight)) for share in world.shares):
        wider = table.weight > world.share
        return _to_candidate(world, table.weight) if wider else _to_stable(world, table.weight)
    if table.candidate is None and world.candidate.replicas > 0:
        return Scale(0)
    if not world.stable.bears:
        return Wait("no pod of the stable Deployment is ready")
    return None if world.table == table else Note()


def side_of(deployment: Object, text: str) -> Side:
    """Read one side out of its Deployment.

    A status that was written before the Deployment's last change says nothing about it.

    Parameters
    ----------
    deployment
        As the cluster has it.
    text
        What its pod template says.
    """
    status = deployment.get("status", {})
    replicas = int(deployment["spec"].get("replicas", 1))
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    updated = int(status.get("updatedReplicas", 0))
    current = seen and updated >= replicas and int(status.get("replicas", 0)) == updated
    return Side(pods.answering(text), replicas, current, int(status.get("availableReplicas", 0)))


def tell(table: routing.RoutingTable, version: str) -> routing.RoutingTable | None:
    """Return what a pod of a version routes by: while there is a candidate, both sides mirror.

    >>> table = routing.RoutingTable(model="m", champion="m:1", candidate="m:2", weight=0.5)
    >>> told = tell(table, "m:1")
    >>> (told.candidate, told.weight)
    ('m:2', 0.0)
    """
    if version == table.champion:
        return msgspec.structs.replace(table, weight=0.0)
    return pods.live(table, version)


def _change_stable(world: World, table: routing.RoutingTable) -> Write:
    """Change the version of the stable pods once the other side answers with it for all."""
    if world.stable.version is None or min(world.shares) == 1.0:
        return Say("stable", _alone(table))
    if world.candidate.version != table.champion:
        if world.share > 0.0:
            return _to_stable(world, 0.0)
        return Say("candidate", _alone(table), world.needed)
    if world.candidate.replicas < world.needed:
        return Scale(world.needed)
    return _to_candidate(world, 1.0)


def _alone(table: routing.RoutingTable) -> str:
    told = msgspec.structs.replace(table, candidate=None, weight=0.0, mirror=0.0)
    return pods.encode(told)


def _to_candidate(world: World, share: float) -> Write:
    if world.candidate.ready:
        return Share(share)
    return Wait("the candidate's pods are not all ready")


def _to_stable(world: World, share: float) -> Write:
    """Give the stable pods more: any of them will do while they bear traffic, else all."""
    able = world.stable.bears if world.share < 1.0 else world.stable.ready
    return Share(share) if able else Wait("the stable pods are not ready")
