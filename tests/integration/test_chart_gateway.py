"""The chart with a gateway: Helm makes the route, the controller moves its weights, and both live.

The list of rules is one field to a cluster, so it has one owner. Helm's is refused while the
controller's weights differ from the chart's, which are those at which a rollout rests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coppice import routing, settings
from deploy import backends
from deploy.backends.base import Backend
from tests.support import chart, kube_server, kube_store, kubelet
from tests.support.kube_server import Cluster
from tests.support.kube_store import Role

NAMESPACE = "default"
ADMIN, CONTROL = "", "control"
"""Tokens. Helm sends none over plain HTTP, so whoever has none is the administrator here."""
ALL = Role([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
ROUTE = kubelet.ROUTES._replace(name="shop-coppice")
ALONE = routing.RoutingTable(generation=1, model="digits", champion="digits:a")
TRIAL = routing.RoutingTable(
    generation=2, model="digits", champion="digits:a", candidate="digits:b", weight=0.1, mirror=1.0
)
PROMOTED = routing.RoutingTable(
    generation=3, model="digits", champion="digits:b", previous="digits:a"
)


@dataclasses.dataclass
class Release:
    """A release of the chart, its controller, and the pods that the cluster makes of it."""

    helm: Any
    cluster: Cluster
    backend: Backend
    kubelet: kubelet.Kubelet

    def bring_about(self, table: routing.RoutingTable) -> None:
        """Let controller and cluster act in turns until the routes are as the table says."""
        for _ in range(20):
            if self.backend.apply(table):
                return
            self.kubelet.reconcile()
        pytest.fail("the routes never got there")

    def upgrade(self) -> Any:
        """Upgrade with another number of pods."""
        chosen = chart.changed("gateway", server__replicas=3)
        return self.helm.upgrade(str(chart.FOLDER), chart.NAME, chosen)

    def weights(self) -> dict[str, int]:
        """Return the weights of the route by service."""
        (rule,) = self.cluster.store.get(ROUTE)["spec"]["rules"]
        return {each["name"]: each["weight"] for each in rule["backendRefs"]}

    def replicas(self, name: str) -> int | None:
        """Return how many pods a Deployment wants, `None` where it does not say."""
        found = self.cluster.store.get(kubelet.DEPLOYMENTS._replace(name=name))
        asked: int | None = found["spec"].get("replicas")
        return asked


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    rendered = chart.render(chart.values("gateway"), namespace=NAMESPACE).objects
    with kube_server.running(schemas=kube_store.crd_schemas()) as cluster:
        (given,) = chart.of_kind(rendered, "Role")
        cluster.roles.update({ADMIN: ALL, CONTROL: Role(given["rules"])})
        (config,) = [
            each["data"]["coppice.toml"]
            for each in chart.of_kind(rendered, "ConfigMap")
            if "coppice.toml" in each["data"]
        ]
        (tmp_path / "coppice.toml").write_text(config)
        (tmp_path / "kube").write_text(cluster.kubeconfig(CONTROL, NAMESPACE))
        read = settings.load(tmp_path)
        chosen = read.cluster.model_copy(update={"kubeconfig": Path("kube")})
        helm = chart.engine().Config(
            kubeconfig_content=cluster.kubeconfig(ADMIN, NAMESPACE),
            namespace=NAMESPACE,
            storage_driver="memory",
        )
        helm.install(str(chart.FOLDER), chart.NAME, chart.values("gateway"))
        backend = backends.open_backend(read.model_copy(update={"cluster": chosen}))
        made = Release(helm, cluster, backend, kubelet.Kubelet(cluster))
        made.bring_about(ALONE)
        yield made
        backend.close()
        helm.close()


def test_the_route_rests_at_the_weights_of_the_chart(release: Release) -> None:
    assert release.weights() == {"shop-coppice-server": 1000, "shop-coppice-candidate": 0}
    assert release.replicas("shop-coppice-candidate") == 0


def test_an_upgrade_at_rest_is_taken_and_leaves_the_candidate_without_pods(
    release: Release,
) -> None:
    release.upgrade()

    assert release.replicas("shop-coppice-server") == 3
    assert release.replicas("shop-coppice-candidate") == 0
    assert release.weights() == {"shop-coppice-server": 1000, "shop-coppice-candidate": 0}


def test_an_upgrade_in_the_middle_of_a_rollout_is_refused_and_takes_no_weight_back(
    release: Release,
) -> None:
    release.bring_about(TRIAL)
    moved = {"shop-coppice-server": 900, "shop-coppice-candidate": 100}
    assert release.weights() == moved

    with pytest.raises(chart.engine().HelmError, match=r"conflict.*spec\.rules"):
        release.upgrade()

    assert release.weights() == moved
    assert release.backend.observe().table == TRIAL


def test_an_upgrade_after_the_rollout_is_taken_and_leaves_the_new_version(
    release: Release,
) -> None:
    release.bring_about(TRIAL)
    release.bring_about(PROMOTED)

    release.upgrade()

    assert release.replicas("shop-coppice-server") == 3
    assert release.weights() == {"shop-coppice-server": 1000, "shop-coppice-candidate": 0}
    assert release.backend.observe().table == PROMOTED
