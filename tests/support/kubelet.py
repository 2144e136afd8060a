"""What a cluster makes of Deployments, for tests: pods that roll, and are ready one look later."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from deploy.backends.kube import pods
from tests.support.kube_server import Cluster
from tests.support.kube_store import Key

PODS = Key("v1", "pods", "default", "")
DEPLOYMENTS = Key("apps/v1", "deployments", "default", "")
ROUTES = Key("gateway.networking.k8s.io/v1", "httproutes", "default", "")


class Kubelet:
    """Keep the pods of every Deployment of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.broken = ""
        """Pods that answer with this version never become ready."""

    def reconcile(self, times: int = 1) -> None:
        """Take so many looks at each Deployment."""
        for _ in range(times):
            for deployment in self._cluster.store.list("apps/v1", "deployments", "default"):
                self._look(deployment)

    def _look(self, deployment: dict[str, Any]) -> None:
        store, name = self._cluster.store, deployment["metadata"]["name"]
        template = deployment["spec"]["template"]
        text = json.dumps(template, sort_keys=True).encode()
        revision = hashlib.sha256(text).hexdigest()[:6]
        replicas = deployment["spec"].get("replicas", 1)
        wanted = {f"{name}-{revision}-{index}" for index in range(replicas)}
        there = {pod["metadata"]["name"]: pod for pod in pods_of(self._cluster, name)}
        for new in sorted(wanted - set(there)):
            metadata = {**copy.deepcopy(template["metadata"]), "name": new}
            self._cluster.add({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
        able = {new for new in wanted & set(there) if answers(there[new]) != self.broken}
        for new in sorted(able):
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            key = PODS._replace(name=new)
            store.update(key, lambda now, ready=ready: {**now, "status": ready}, "status")
        if able == wanted:
            # Old pods go once all new ones are ready: maxUnavailable 0.
            for old in sorted(set(there) - wanted):
                store.delete(PODS._replace(name=old))
        left = pods_of(self._cluster, name)
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(left),
            "updatedReplicas": sum(pod["metadata"]["name"] in wanted for pod in left),
            "availableReplicas": sum(is_ready(pod) for pod in left),
        }
        key = DEPLOYMENTS._replace(name=name)
        store.update(key, lambda now: {**now, "status": status}, "status")


def pods_of(cluster: Cluster, app: str) -> list[dict[str, Any]]:
    found = cluster.store.list("v1", "pods", "default")
    return [pod for pod in found if pod["metadata"]["labels"]["app"] == app]


def is_ready(pod: dict[str, Any]) -> bool:
    return bool(pod.get("status", {}).get("conditions"))


def answers(pod: dict[str, Any]) -> str | None:
    return pods.answering(pod["metadata"].get("annotations", {}).get(pods.ROUTING, ""))


def unsafe_moments(cluster: Cluster, route: str, since: int = 0) -> list[str]:
    """Replay all that happened; return when traffic met no ready pod, or two versions at once."""
    kinds = [PODS, DEPLOYMENTS, ROUTES]
    changes = [
        change for kind in kinds for change in cluster.store.since(0, kind.version, kind.plural)
    ]
    world: dict[Key, dict[str, Any]] = {}
    found = []
    for change in sorted(changes, key=lambda change: change.revision):
        world[change.key] = change.object
        if change.type == "DELETED":
            del world[change.key]
        if change.revision > since:
            found += [
                f"revision {change.revision}: {app} bears traffic with {told}"
                for app, told in _bearing(world, route)
                if len(told) != 1
            ]
    return found


def _bearing(world: dict[Key, dict[str, Any]], route: str) -> list[tuple[str, set[str | None]]]:
    rules = world.get(ROUTES._replace(name=route), {"spec": {"rules": []}})["spec"]["rules"]
    apps = {
        reference["name"]
        for rule in rules
        for reference in rule["backendRefs"]
        if reference["weight"] > 0
    }
    return [
        (
            app,
            {
                answers(pod)
                for key, pod in world.items()
                if key.plural == "pods"
                and pod["metadata"]["labels"]["app"] == app
                and is_ready(pod)
            },
        )
        for app in sorted(apps)
    ]
