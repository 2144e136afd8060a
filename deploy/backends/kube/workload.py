"""Routes that lie in a workload of the cluster, and in the pods that it keeps.

Every write names the resource version that it was decided on, so that of two writers the second is
refused and plans again. What the pods are told is worked out in `deploy.backends.kube.pods`.
"""

from __future__ import annotations

from typing import NamedTuple

import structlog

from coppice import errors, routing
from deploy.backends import base
from deploy.backends.kube import pods
from deploy.backends.kube.client import Client, Object, Resource

PODS = Resource("v1", "pods")

_log = structlog.get_logger(__name__)


class Place(NamedTuple):
    """An object in the cluster: its kind and its name."""

    resource: Resource
    name: str


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
    """

    def __init__(self, client: Client, owner: Place, template: Place | None = None) -> None:
        self._client = client
        self._owner = owner
        self._template = template or owner

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()

    async def read(self) -> Object:
        """Return the owner as it is.

        Raises
        ------
        NotInCluster
            There is none of that name.
        """
        return await self._client.get(*self._owner)

    async def write(self, table: routing.RoutingTable, reason: str = "") -> None:
        """Let the workload route by a newer table: new pods where another version must answer.

        Raises
        ------
        RolloutError
            The world's table is not older, or somebody wrote in between.
        """
        owner = await self.read()
        base.refuse_older(table, base.RouteState(table_of(owner)))
        if self._template == self._owner:
            told = pods.templates(table, _templates(owner, owner))
            await self._client.patch(*self._owner, _change(owner, table, told, with_template=True))
        else:
            holder = await self._client.get(*self._template)
            told = pods.templates(table, _templates(owner, holder))
            # The pods first: the table says what is there.
            await self._client.patch(*self._template, _template_change(holder, told))
            await self._client.patch(*self._owner, _change(owner, table, told, with_template=False))
        _log.info("workload_routed", name=self._owner.name, reason=reason, template=told.now)
        await self.tend(table)

    async def tend(self, table: routing.RoutingTable) -> int:
        """Tell pods that run what their template did not; return how many had to be told.

        A pod that goes away meanwhile is left to go.
        """
        holder = await self._client.get(*self._template)
        labels = holder["spec"].get("selector", {}).get("matchLabels", {})
        if not labels:
            return 0
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        told = 0
        for pod in await self._client.list(PODS, selector=selector):
            change = _pod_change(pod, table)
            if change is None:
                continue
            try:
                await self._client.patch(PODS, pod["metadata"]["name"], change)
            except (errors.NotInCluster, errors.ClusterConflict):
                continue
            told += 1
        return told

    async def change(self, change: Object, *, subresource: str = "") -> Object:
        """Merge a change into the owner, or into its status."""
        return await self._client.patch(*self._owner, change, subresource=subresource)


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
    template = holder["spec"].get("template", {}).get("metadata", {}).get("annotations", {})
    return pods.Templates(template.get(pods.ROUTING, ""), annotations.get(pods.STABLE, ""))


def _change(
    owner: Object, table: routing.RoutingTable, told: pods.Templates, *, with_template: bool
) -> Object:
    version = owner["metadata"]["resourceVersion"]
    annotations = {pods.TABLE: pods.encode(table), pods.STABLE: told.stable}
    change: Object = {"metadata": {"resourceVersion": version, "annotations": annotations}}
    if with_template:
        change["spec"] = _template_change(owner, told)["spec"]
    return change


def _template_change(holder: Object, told: pods.Templates) -> Object:
    return {
        "metadata": {"resourceVersion": holder["metadata"]["resourceVersion"]},
        "spec": {"template": {"metadata": {"annotations": {pods.ROUTING: told.now}}}},
    }


def _pod_change(pod: Object, table: routing.RoutingTable) -> Object | None:
    text = pod["metadata"].get("annotations", {}).get(pods.ROUTING, "")
    version = pods.answering(text)
    wanted = None if version is None else pods.live(table, version)
    if wanted is None or pods.encode(wanted) == text:
        return None
    return {
        "metadata": {
            "resourceVersion": pod["metadata"]["resourceVersion"],
            "annotations": {pods.ROUTING: pods.encode(wanted)},
        }
    }
