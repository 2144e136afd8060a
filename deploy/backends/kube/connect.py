"""From the settings to the parts of a cluster backend: access, client, lease."""

from __future__ import annotations

import socket
import uuid
from typing import NamedTuple

from coppice import clock, settings
from deploy.backends.kube import access
from deploy.backends.kube.client import Client
from deploy.backends.kube.lease import Lease, Terms
from deploy.backends.kube.portal import Portal


class Parts(NamedTuple):
    """What every cluster backend is made of."""

    client: Client
    lease: Lease
    portal: Portal


def connect(tree: settings.Settings) -> Parts:
    """Find the cluster that the settings name; nothing is asked of it yet.

    Raises
    ------
    ClusterProblem
        There is none, or its description cannot be used.
    """
    chosen = tree.cluster
    client = Client(reach(tree), may_patch=lambda: not lease.lost)
    # A pod that comes again has the name and the process number of the one before.
    identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    seconds = chosen.lease_seconds
    terms = Terms(seconds, renew_within=seconds * 2 / 3, renew_every=seconds / 7.5)
    name = chosen.lease or f"coppice-{workload(tree)}"
    lease = Lease(client, name, identity, clock.SystemClock(), terms)
    return Parts(client, lease, Portal())


def reach(tree: settings.Settings) -> access.Access:
    """Return how the cluster of the settings is reached, and who we are there.

    Raises
    ------
    ClusterProblem
        There is none, or its description cannot be used.
    """
    chosen = tree.cluster
    if chosen.kubeconfig is None:
        return access.find(namespace=chosen.namespace)
    return access.kubeconfig(tree.root / chosen.kubeconfig, namespace=chosen.namespace)


def workload(tree: settings.Settings) -> str:
    """Return the name of the object that the rollout tool looks at."""
    return tree.cluster.workload or tree.project.name
