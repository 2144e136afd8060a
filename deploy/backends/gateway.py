"""Routes that we move ourselves: weights of an HTTPRoute between two Deployments.

For a cluster with an implementation of the Gateway API and no rollout tool. The stable Deployment
and the candidate's each have a Service of the same name, and the route's rules send to both. What
comes after what is worked out in `deploy.backends.kube.pair`, one write at a time; where pods have
to become ready first, `apply` says that it is not done yet, and is asked again.

The routing table lies in an annotation of the HTTPRoute, written last: once it is seen, all that it
asks for is true. A list cannot be patched in part, so the route's rules are read, changed and
written back whole, under the resource version that was read.

A shadow needs copies of requests. They are made inside the stable pods, which are told in place by
their annotation and mirror to the candidate that they load beside the champion: the same records
as on one machine, each pair under one request. The route's `requestMirror` filter would send copies
to the candidate's pods instead, which would count them as requests that clients made and answer
each a second time under the same name; so it is not used. The price is memory: while a candidate is
on trial every pod holds two versions.

References
----------
Gateway API, https://gateway-api.sigs.k8s.io/: HTTPRoute, `backendRefs` and weights. Kubernetes,
Deployments: status and rolling updates.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import structlog

from coppice import errors, routing, settings
from deploy.backends import base
from deploy.backends.kube import connect as kube
from deploy.backends.kube import pair, pods, workload
from deploy.backends.kube.backend import ClusterBackend
from deploy.backends.kube.client import Object, Resource
from deploy.backends.kube.workload import DEPLOYMENTS, Place

ROUTES = Resource("gateway.networking.k8s.io/v1", "httproutes")

_log = structlog.get_logger(__name__)


class Names(NamedTuple):
    """Of the route, and of the two Deployments, whose Services are named alike."""

    route: str
    stable: str
    candidate: str

    @property
    def holders(self) -> tuple[Place, Place]:
        """Where the pods are kept."""
        return Place(DEPLOYMENTS, self.stable), Place(DEPLOYMENTS, self.candidate)


class Seen(NamedTuple):
    """The three objects as they were read, and what they mean."""

    route: Object
    stable: Object
    candidate: Object
    world: pair.World


def connect(tree: settings.Settings) -> GatewayBackend:
    """Open the HTTPRoute and the Deployments that the settings name.

    Raises
    ------
    ClusterProblem
        No cluster can be found.
    """
    route = kube.workload(tree)
    stable = tree.cluster.template or route
    candidate = tree.cluster.candidate or f"{stable}-candidate"
    return GatewayBackend(kube.connect(tree), Names(route, stable, candidate))


class GatewayBackend(ClusterBackend):
    """Route by an HTTPRoute.

    Parameters
    ----------
    parts
        How the cluster is reached, and who writes.
    names
        Of the objects.
    """

    def __init__(self, parts: kube.Parts, names: Names) -> None:
        super().__init__(parts, lambda: parts.client.watch(ROUTES, names.route))
        self._names = names

    def observe(self) -> base.RouteState:
        """Read the table off the HTTPRoute; see `base.Backend.observe`."""
        route = self._portal.call(self._client.get(ROUTES, self._names.route))
        return base.RouteState(workload.table_of(route))

    def apply(self, table: routing.RoutingTable) -> bool:
        """Go on towards a newer table, as far as ready pods allow; see `base.Backend.apply`."""
        return self._portal.call(self._bring_about(table))

    def abort(self, reason: str) -> base.RouteState:
        """Give all traffic to the stable pods and put the candidate's away."""
        table = self.observe().table
        if table is not None and table.candidate is not None:
            _log.warning("gateway_aborted", candidate=table.candidate, reason=reason)
            self.apply(base.without_candidate(table))
        return self.observe()

    def steer(self, action: base.Steering) -> None:
        """Do nothing: no tool moves these routes; see `base.Backend.steer`."""

    def tend(self) -> int:
        """Tell pods that started since, and put back what somebody else moved.

        Such as weights that an upgrade of the chart set to what it begins with.
        """
        return self._portal.call(self._tend())

    def supports(self) -> frozenset[base.Ability]:
        """Return every ability: the route weighs, and the pods mirror."""
        return frozenset({"weights", "mirror"})

    async def _bring_about(self, table: routing.RoutingTable) -> bool:
        seen = await self._look()
        base.refuse_older(table, base.RouteState(seen.world.table))
        if not await self._converge(seen, table):
            return False
        await workload.tend(self._client, self._names.holders, table, pair.tell)
        return True

    async def _converge(self, seen: Seen, table: routing.RoutingTable) -> bool:
        """Write until a table is true, or until pods have to become ready."""
        while True:
            write = pair.following(seen.world, table)
            match write:
                case None:
                    return True
                case pair.Wait():
                    _log.info("gateway_waits", reason=write.reason, generation=table.generation)
                    return False
                case _:
                    _log.info("gateway_writes", write=repr(write))
                    await self._carry_out(write, seen, table)
            seen = await self._look()

    async def _look(self) -> Seen:
        route = await self._client.get(ROUTES, self._names.route)
        stable, candidate = [await self._client.get(*place) for place in self._names.holders]
        world = pair.World(
            workload.table_of(route),
            shares(route, self._names),
            pair.side_of(stable, workload.said(stable)),
            pair.side_of(candidate, workload.said(candidate)),
        )
        return Seen(route, stable, candidate, world)

    async def _carry_out(
        self,
        write: pair.Say | pair.Scale | pair.Share | pair.Note,
        seen: Seen,
        table: routing.RoutingTable,
    ) -> None:
        stable, candidate = self._names.holders
        match write:
            case pair.Say():
                holder = seen.stable if write.side == "stable" else seen.candidate
                change = workload.template_change(holder, write.text)
                if write.replicas is not None:
                    change["spec"]["replicas"] = write.replicas
                place = stable if write.side == "stable" else candidate
                await self._client.patch(*place, change)
            case pair.Scale():
                change = workload.annotated(seen.candidate, {})
                change["spec"] = {"replicas": write.replicas}
                await self._client.patch(*candidate, change)
            case pair.Share():
                change = workload.annotated(seen.route, {})
                change["spec"] = {"rules": weighed(seen.route, self._names, write.share)}
                await self._client.patch(ROUTES, self._names.route, change)
            case pair.Note():
                change = workload.annotated(seen.route, {pods.TABLE: pods.encode(table)})
                await self._client.patch(ROUTES, self._names.route, change)

    async def _tend(self) -> int:
        seen = await self._look()
        table = seen.world.table
        if table is None:
            return 0
        await self._converge(seen, table)
        return await workload.tend(self._client, self._names.holders, table, pair.tell)


def shares(route: Object, names: Names) -> tuple[float, ...]:
    """Return what the candidate's Service gets of each rule that sends to both.

    Raises
    ------
    ClusterProblem
        No rule does.
    """
    found = []
    for stable, candidate in _references(route["spec"].get("rules", []), names):
        ours = candidate.get("weight", 1)
        total = ours + stable.get("weight", 1)
        found.append(ours / total if total else 0.0)
    if not found:
        message = (
            f"no rule of HTTPRoute {names.route} has backendRefs to both {names.stable} and "
            f"{names.candidate}; add them, with weights {pair.UNIT} and 0"
        )
        raise errors.ClusterProblem(message)
    return tuple(found)


def weighed(route: Object, names: Names, share: float) -> list[Object]:
    """Return the route's rules, with other weights and nothing else changed."""
    rules: list[Object] = copy.deepcopy(route["spec"]["rules"])
    for stable, candidate in _references(rules, names):
        candidate["weight"] = round(pair.UNIT * share)
        stable["weight"] = pair.UNIT - candidate["weight"]
    return rules


def _references(rules: list[Object], names: Names) -> Iterator[tuple[Object, Object]]:
    for rule in rules:
        found = {reference["name"]: reference for reference in rule.get("backendRefs", [])}
        if names.stable in found and names.candidate in found:
            yield found[names.stable], found[names.candidate]
