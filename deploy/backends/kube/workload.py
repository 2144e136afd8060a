"""Routes that lie in a workload of the cluster, and in the pods that it keeps.

Every write names the resource version that it was decided on, so that of two writers the second is
refused and plans again. What the pods are told is worked out in `deploy.backends.kube.pods`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, TypeAlias

import structlog

from coppice import errors, routing
from deploy.backends import base
from deploy.backends.kube import pods
from deploy.backends.kube.client import Client, Object, Resource

PODS = Resource("v1", "pods")
DEPLOYMENTS = Resource("apps/v1", "deployments")
Tell: TypeAlias = Callable[[routing.RoutingTable, str], routing.RoutingTable | None]
"""From the table and the version that a pod answers with to what it routes by."""

_log = structlog.get_logger(__name__)


class Place(NamedTuple):
    """An object in the cluster: its kind and its name."""

    resource: Resource
    name: str


Holders: TypeAlias = Callable[[Object], tuple[Place, ...]]
"""From the owner to the objects that keep its pods; the first holds the pod template."""
Notes: TypeAlias = Callable[[Object], dict[str, str]]
"""From the owner to the annotations that it gets before its pod template changes."""


class Workload:
    """Read and write the routing table of one workload.

    Parameters
    ----------
    client
        How the cluster is reached.
    owner
        The object that the rollout tool looks at; the table lies in its annotations.
    template
        The object that holds the pod template, where that is another one.
    holders
        Instead of `template`, where only the owner says which objects these are.
    notes
        What has to be written down before a new pod template, besides what the template says now.
    """

    def __init__(
        self,
        client: Client,
        owner: Place,
        template: Place | None = None,
        *,
        holders: Holders | None = None,
        notes: Notes | None = None,
    ) -> None:
        self._client = client
        self._owner = owner
        self._holders = holders or (lambda _: (template or owner,))
        self._notes: Notes = notes or (lambda _: {})

    async def read(self) -> Object:
        """Return the owner as it is.

        Raises
        ------
        NotInCluster
            There is none of that name.
        """
        return await self._client.get(*self._owner)

    def watch(self) -> AsyncIterator[Object | None]:
        """Yield the owner now and whenever it changes; see `client.Client.watch`."""
        return self._client.watch(*self._owner)

    async def write(self, table: routing.RoutingTable, reason: str = "") -> None:
        """Let the workload route by a newer table: new pods where another version must answer.

        Raises
        ------
        RolloutError
            The world's table is not older, or somebody wrote in between.
        """
        owner = await self.read()
        base.refuse_older(table, base.RouteState(table_of(owner)))
        holders = self._holders(owner)
        if holders[0] == self._owner:
            told = pods.templates(table, _templates(owner, owner))
            await self._client.patch(*self._owner, _change(owner, table, told, with_template=True))
        else:
            told = await self._write_apart(owner, holders[0], table)
        _log.info("workload_routed", name=self._owner.name, reason=reason, template=told.now)
        await tend(self._client, holders, table)

    async def _write_apart(
        self, owner: Object, place: Place, table: routing.RoutingTable
    ) -> pods.Templates:
        holder = await self._client.get(*place)
        before = _templates(owner, holder)
        told = pods.templates(table, before)
        if told.now != before.now:
            # First what to go back to: the template is the only other place that says it.
            noted = {pods.STABLE: told.stable, **self._notes(owner)}
            owner = await self.change(annotated(owner, noted))
            # The pods first: the table says what is there.
            await self._client.patch(*place, template_change(holder, told.now))
        await self._client.patch(*self._owner, _change(owner, table, told, with_template=False))
        return told

    async def look_after(self) -> int:
        """Tell pods that started since the last write; return how many had to be told."""
        owner = await self.read()
        table = table_of(owner)
        return 0 if table is None else await tend(self._client, self._holders(owner), table)

    async def templates(self, owner: Object) -> tuple[str, ...]:
        """Return what the pod template of each holder says; empty where there is none of them."""
        return tuple([await self._said(place) for place in self._holders(owner)])

    async def _said(self, place: Place) -> str:
        try:
            return said(await self._client.get(*place))
        except errors.NotInCluster:
            return ""

    async def change(self, change: Object, *, subresource: str = "") -> Object:
        """Merge a change into the owner, or into its status."""
        return await self._client.patch(*self._owner, change, subresource=subresource)


async def tend(
    client: Client, holders: Sequence[Place], table: routing.RoutingTable, tell: Tell = pods.live
) -> int:
    """Tell pods that run what their template did not; return how many had to be told.

    A pod that goes away meanwhile is left to go, and so is a holder that is not there yet.

    Parameters
    ----------
    client
        How the cluster is reached.
    holders
        Whose pods these are.
    table
        What is routed by.
    tell
        What a pod of a version routes by then.
    """
    told = 0
    for place in holders:
        try:
            holder = await client.get(*place)
        except errors.NotInCluster:
            continue
        labels = holder["spec"].get("selector", {}).get("matchLabels", {})
        if not labels:
            continue
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        for pod in await client.list(PODS, selector=selector):
            change = _pod_change(pod, table, tell)
            if change is None:
                continue
            try:
                await client.patch(PODS, pod["metadata"]["name"], change)
            except (errors.NotInCluster, errors.ClusterConflict):
                continue
            told += 1
    return told


def annotated(found: Object, annotations: dict[str, str]) -> Object:
    """Return the change that annotates an object, if it is still the one that was read."""
    version = found["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version, "annotations": annotations}}


def said(holder: Object) -> str:
    """Return what the pod template of an object says its pods route by; empty for nothing."""
    template = holder["spec"].get("template", {}).get("metadata", {}).get("annotations", {})
    return str(template.get(pods.ROUTING, ""))


def template_change(holder: Object, text: str) -> Object:
    """Return the change that lets a pod template say something else."""
    return {
        "metadata": {"resourceVersion": holder["metadata"]["resourceVersion"]},
        "spec": {"template": {"metadata": {"annotations": {pods.ROUTING: text}}}},
    }


def table_of(owner: Object) -> routing.RoutingTable | None:
    """Return the routing table in a workload's annotations, `None` where there is none yet.

    Raises
    ------
    ClusterProblem
        Something else lies there.
    """
    text = owner["metadata"].get("annotations", {}).get(pods.TABLE)
    return None if text is None else pods.decode(text)


def _templates(owner: Object, holder: Object) -> pods.Templates:
    annotations = owner["metadata"].get("annotations", {})
    return pods.Templates(said(holder), annotations.get(pods.STABLE, ""))


def _change(
    owner: Object, table: routing.RoutingTable, told: pods.Templates, *, with_template: bool
) -> Object:
    change = annotated(owner, {pods.TABLE: pods.encode(table), pods.STABLE: told.stable})
    if with_template:
        change["spec"] = template_change(owner, told.now)["spec"]
    return change


def _pod_change(pod: Object, table: routing.RoutingTable, tell: Tell) -> Object | None:
    text = pod["metadata"].get("annotations", {}).get(pods.ROUTING, "")
    version = pods.answering(text)
    wanted = None if version is None else tell(table, version)
    if wanted is None or pods.encode(wanted) == text:
        return None
    return annotated(pod, {pods.ROUTING: pods.encode(wanted)})
