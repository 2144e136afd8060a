"""Which backend looks after a workload of the cluster: named by the settings, or found there."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from coppice import errors, settings
from deploy.backends import argo, base, flagger, gateway, observed
from deploy.backends.kube import connect as kube
from deploy.backends.kube.client import Client, Resource

Kind: TypeAlias = Literal["argo", "flagger", "gateway"]


def connect(tree: settings.Settings) -> base.Backend:
    """Open the backend of a cluster that the settings name.

    Raises
    ------
    ClusterProblem
        No cluster can be found, or nothing in it looks after the workload.
    SettingsError
        We are to move the traffic and to write nothing.
    """
    kind = tree.rollout.backend
    if kind == "auto":
        kind = asyncio.run(find(tree))
    if kind == "gateway":
        if tree.cluster.write_back == "none":
            message = (
                'rollout.backend is "gateway", where we write the weights, but '
                'cluster.write_back is "none"; where Git says what runs, let Argo Rollouts or '
                "Flagger move the traffic"
            )
            raise errors.SettingsError(message)
        return gateway.connect(tree)
    backend = argo.connect(tree) if kind == "argo" else flagger.connect(tree)
    return observed.ObservedBackend(backend) if tree.cluster.write_back == "none" else backend


async def find(tree: settings.Settings) -> Kind:
    """Say who looks after the workload: Argo Rollouts, else Flagger.

    Raises
    ------
    ClusterProblem
        Neither; the message names the choices.
    """
    client = Client(kube.reach(tree))
    name = kube.workload(tree)
    try:
        if await _has(client, argo.ROLLOUTS, name):
            return "argo"
        if await _has(client, flagger.CANARIES, name):
            return "flagger"
    finally:
        await client.close()
    message = (
        f'rollout.backend is "auto", but namespace {client.namespace} has neither a Rollout of '
        f"Argo Rollouts nor a Canary of Flagger named {name}; set cluster.workload to its name, or "
        'rollout.backend to "gateway" (we move the weights of an HTTPRoute) or "local" (the router '
        "on this machine)"
    )
    raise errors.ClusterProblem(message)


async def _has(client: Client, resource: Resource, name: str) -> bool:
    if not await client.serves(resource):
        return False
    try:
        await client.get(resource, name)
    except errors.NotInCluster:
        return False
    return True
