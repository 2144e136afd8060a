"""What controllers ask of a cluster is what the chart's Role allows: nothing less, nothing more.

Each backend lives through everything that it can do, with the Role of its mode for its rights; the
API server of the tests notes what it was asked for.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coppice import routing, settings
from coppice.clock import SystemClock
from deploy import backends
from deploy.backends.base import Backend
from deploy.backends.kube import pods
from tests.support import chart, kube_server, kube_store, kubelet
from tests.support.kube_server import Cluster
from tests.support.kube_store import Role

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

NAMESPACE, TOKEN = "default", "control"
ALONE = routing.RoutingTable(generation=1, model="digits", champion="digits:a")
TRIAL = routing.RoutingTable(
    generation=2, model="digits", champion="digits:a", candidate="digits:b", weight=1.0
)
ASKED_FOR = ("Deployment", "Rollout", "Canary", "HTTPRoute")
MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "argo": ("argo-rollout", {}),
    "argo-workload-ref": ("argo-workload-ref", {}),
    "flagger": ("flagger", {}),
    "gateway": ("gateway", {}),
    "argo-judged": ("gitops", {}),
    "argo-workload-ref-judged": ("argo-workload-ref", {"rollout__writeBack": "none"}),
    "flagger-judged": ("flagger", {"rollout__writeBack": "none"}),
}


class Release(NamedTuple):
    """A mode of the chart in a cluster, and a controller with what the chart gives it."""

    cluster: Cluster
    backend: Backend
    role: Role

    def allowed(self) -> set[tuple[str, str, str]]:
        """Return all that the Role allows: verb, resource, name."""
        return {
            (verb, resource, name)
            for rule in self.role.rules
            for verb in rule["verbs"]
            for resource in rule["resources"]
            for name in rule.get("resourceNames", ["*"])
        }

    def asked(self) -> set[tuple[str, str, str]]:
        """Return all that was asked for, with a name where the Role gives one."""
        anybodys = {(verb, resource) for verb, resource, name in self.allowed() if name == "*"}
        return {
            (verb, resource, "*" if (verb, resource) in anybodys else name)
            for verb, resource, name in self.cluster.asked
        }


@pytest.fixture(params=MODES)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Release]:
    mode, places = MODES[request.param]
    objects = chart.render(chart.changed(mode, **places), namespace=NAMESPACE).objects
    (role,) = chart.of_kind(objects, "Role")
    (config,) = [
        found["data"]["coppice.toml"]
        for found in chart.of_kind(objects, "ConfigMap")
        if "coppice.toml" in found["data"]
    ]
    (tmp_path / "coppice.toml").write_text(config)
    with kube_server.running(schemas=kube_store.crd_schemas()) as cluster:
        for found in chart.of_kind(objects, *ASKED_FOR):
            cluster.add(copy.deepcopy(found), NAMESPACE)
        cluster.roles[TOKEN] = Role(role["rules"])
        (tmp_path / "kube").write_text(cluster.kubeconfig(TOKEN, NAMESPACE))
        tree = settings.load(tmp_path)
        chosen = tree.cluster.model_copy(update={"kubeconfig": Path("kube")})
        backend = backends.open_backend(tree.model_copy(update={"cluster": chosen}))
        yield Release(cluster, backend, cluster.roles[TOKEN])


def tell_a_pod(cluster: Cluster) -> None:
    """Start a pod of what serves, which does not know of the last change yet."""
    labels = {
        label: value
        for found in cluster.store.list("apps/v1", "deployments", NAMESPACE)
        + cluster.store.list("argoproj.io/v1alpha1", "rollouts", NAMESPACE)
        for label, value in found["spec"].get("selector", {}).get("matchLabels", {}).items()
        if "candidate" not in value
    }
    late = pods.encode(routing.RoutingTable(model="digits", champion="digits:a", previous="m:0"))
    metadata = {"name": "late", "labels": labels, "annotations": {pods.ROUTING: late}}
    cluster.add({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}, NAMESPACE)


def live(release: Release) -> None:
    """Let a controller do everything that it ever does."""
    backend, node = release.backend, kubelet.Kubelet(release.cluster)
    node.reconcile(2)
    backend.leads()
    backend.leads()
    backend.apply(ALONE)
    tell_a_pod(release.cluster)
    backend.tend()
    # With a gateway pods have to become ready in between; who only judges never gets there.
    any(backend.apply(TRIAL) or node.reconcile() for _ in range(8))
    for action in ("pause", "resume", "promote"):
        backend.steer(action)
    backend.abort("it is worse")
    backend.wait(0.01, SystemClock())
    kube_server.wait_for(lambda: release.cluster.watches == 1)


def test_a_controller_asks_for_all_that_its_role_allows_and_for_nothing_else(
    release: Release,
) -> None:
    with contextlib.closing(release.backend):
        live(release)

    assert release.asked() == release.allowed()
