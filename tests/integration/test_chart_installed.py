"""The chart in a cluster: the real Helm installs it, a controller with its Role moves a version.

The API server is the one of the tests: its permissions are the Role that the chart rendered, its
validation the schemas of the custom resources.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coppice import errors, routing, settings
from coppice.clock import SystemClock
from deploy import backends
from deploy.backends.base import Backend
from deploy.backends.kube import pods
from tests.support import chart, kube_server, kube_store
from tests.support.argo import Argo
from tests.support.kube_server import Cluster
from tests.support.kube_store import Key, Role

ADMIN, CONTROL = "", "control"
"""Tokens. Helm sends none over plain HTTP, so whoever has none is the administrator here."""
ALL = Role([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
ALONE = routing.RoutingTable(generation=1, model="digits", champion="digits:a")
TRIAL = routing.RoutingTable(
    generation=2, model="digits", champion="digits:a", candidate="digits:b", mirror=1.0
)
NO_PODS = {"spec": {"replicas": 0}}
ROLLOUT = Key("argoproj.io/v1alpha1", "rollouts", chart.NAMESPACE, "shop-coppice-server")


@dataclasses.dataclass
class Release:
    """A release of the chart, and a controller that has what the chart gives it."""

    helm: Any
    cluster: Cluster
    backend: Backend
    values: dict[str, Any]

    def upgrade(self, **values: Any) -> Any:
        return self.helm.upgrade(str(chart.FOLDER), chart.NAME, {**self.values, **values})

    def rollout(self) -> dict[str, Any]:
        return self.cluster.store.get(ROLLOUT)

    def annotation(self) -> str:
        annotations = self.rollout()["spec"]["template"]["metadata"]["annotations"]
        return str(annotations[pods.ROUTING])


def role(objects: tuple[dict[str, Any], ...]) -> Role:
    """Return the Role that the chart gives its controllers."""
    (found,) = [each for each in objects if each["kind"] == "Role"]
    return Role(found["rules"])


@contextlib.contextmanager
def installed(mode: str, tmp_path: Path) -> Iterator[Release]:
    """Install a mode of the chart, and open what its controllers open."""
    engine = chart.engine()
    rendered = chart.release(mode)
    with kube_server.running(schemas=kube_store.crd_schemas()) as cluster:
        cluster.roles.update({ADMIN: ALL, CONTROL: role(rendered.objects)})
        (config,) = [
            each["data"]["coppice.toml"]
            for each in rendered.objects
            if each["kind"] == "ConfigMap" and "coppice.toml" in each.get("data", {})
        ]
        (tmp_path / "coppice.toml").write_text(config)
        (tmp_path / "kube").write_text(cluster.kubeconfig(CONTROL, chart.NAMESPACE))
        read = settings.load(tmp_path)
        chosen = read.cluster.model_copy(update={"kubeconfig": Path("kube")})
        tree = read.model_copy(update={"cluster": chosen})
        helm = engine.Config(
            kubeconfig_content=cluster.kubeconfig(ADMIN, chart.NAMESPACE),
            namespace=chart.NAMESPACE,
            storage_driver="memory",
        )
        values = chart.values(mode)
        helm.install(str(chart.FOLDER), chart.NAME, values)
        backend = backends.open_backend(tree)
        yield Release(helm, cluster, backend, values)
        backend.close()
        helm.close()


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    with installed("argo-rollout", tmp_path) as made:
        yield made


def test_everything_that_the_chart_renders_is_taken_by_the_cluster(release: Release) -> None:
    rendered = chart.release("argo-rollout").objects
    hooks = [each for each in rendered if "helm.sh/hook" in str(each["metadata"])]
    wanted = {release.cluster.key(each, chart.NAMESPACE) for each in rendered if each not in hooks}

    there = {key for key in wanted if release.cluster.store.get(key)}

    assert there == wanted
    assert release.helm.status(chart.NAME)["status"] == "deployed"


def test_a_controller_with_the_rendered_role_leads_and_moves_a_version(release: Release) -> None:
    assert release.backend.leads()
    release.backend.apply(ALONE)
    release.backend.apply(TRIAL)
    release.backend.steer("pause")
    release.backend.steer("resume")
    release.backend.steer("promote")
    release.backend.abort("it is worse")

    assert pods.answering(release.annotation()) == "digits:a"


def test_a_pod_that_runs_is_told_with_the_rendered_role(release: Release) -> None:
    release.backend.apply(ALONE)
    labels = release.rollout()["spec"]["selector"]["matchLabels"]
    old = pods.encode(msgspec.structs.replace(ALONE, previous="digits:0"))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "labels": labels, "annotations": {pods.ROUTING: old}},
    }
    release.cluster.add(pod, chart.NAMESPACE)

    release.backend.apply(msgspec.structs.replace(ALONE, generation=2))

    found = release.cluster.store.get(release.cluster.key(pod, chart.NAMESPACE))
    assert pods.decode(found["metadata"]["annotations"][pods.ROUTING]).previous is None


def test_a_controller_with_the_rendered_role_is_woken_by_the_rollout_tool(
    release: Release,
) -> None:
    argo = Argo(release.cluster, ROLLOUT.name, lambda: "promote", namespace=chart.NAMESPACE)
    release.backend.wait(3600.0, SystemClock())
    kube_server.wait_for(lambda: release.cluster.watches == 1)

    argo.reconcile()

    assert kube_server.returns(lambda: release.backend.wait(3600.0, SystemClock()))


@pytest.mark.parametrize(
    ("version", "plural", "verb"),
    [
        ("v1", "secrets", "get"),
        ("v1", "secrets", "list"),
        ("v1", "configmaps", "patch"),
        ("v1", "pods", "delete"),
        ("v1", "pods", "create"),
        ("apps/v1", "deployments", "delete"),
        ("argoproj.io/v1alpha1", "rollouts", "delete"),
        ("argoproj.io/v1alpha1", "rollouts", "create"),
        ("rbac.authorization.k8s.io/v1", "roles", "patch"),
        ("flagger.app/v1beta1", "canaries", "patch"),
        ("gateway.networking.k8s.io/v1", "httproutes", "patch"),
    ],
)
def test_the_rendered_role_gives_nothing_that_is_not_needed(
    version: str, plural: str, verb: str
) -> None:
    given = role(chart.release("argo-rollout").objects)
    key = Key(version, plural, chart.NAMESPACE, "shop-coppice-server")

    assert not given.allows(verb, key, "")


def test_another_rollout_of_the_namespace_is_out_of_reach() -> None:
    given = role(chart.release("argo-rollout").objects)

    assert given.allows("patch", ROLLOUT, "")
    assert not given.allows("patch", ROLLOUT._replace(name="somebody-elses"), "")


def test_an_upgrade_of_the_chart_leaves_the_version_alone(release: Release) -> None:
    release.backend.apply(ALONE)
    release.backend.apply(TRIAL)
    before = release.annotation()

    release.upgrade(server={**release.values["server"], "replicas": 7})

    assert release.rollout()["spec"]["replicas"] == 7
    assert release.annotation() == before
    assert release.backend.observe().table == TRIAL


def test_a_rollback_of_the_chart_leaves_the_version_alone(release: Release) -> None:
    replicas = release.rollout()["spec"]["replicas"]
    release.upgrade(server={**release.values["server"], "replicas": replicas + 5})
    release.backend.apply(ALONE)
    release.backend.apply(TRIAL)
    before = release.annotation()

    release.helm.rollback(chart.NAME, version=1)

    assert release.rollout()["spec"]["replicas"] == replicas
    assert release.annotation() == before


@pytest.mark.parametrize("mode", ["argo-workload-ref", "flagger"])
def test_a_version_in_a_deployments_template_outlives_upgrade_and_rollback(
    mode: str, tmp_path: Path
) -> None:
    with installed(mode, tmp_path) as made:
        made.backend.apply(ALONE)
        made.backend.apply(TRIAL)
        key = ROLLOUT._replace(version="apps/v1", plural="deployments")
        before = made.cluster.store.get(key)
        # As Argo and Flagger do with pods that are theirs to make.
        made.cluster.store.update(key, lambda now: kube_store.merged(now, NO_PODS))
        made.cluster.store.own(key, NO_PODS, "a rollout tool")

        made.upgrade(commonAnnotations={"owner": "somebody"})
        made.helm.rollback(chart.NAME, version=1)

        after = made.cluster.store.get(key)
        routed = made.backend.observe().table

    assert after["spec"]["template"] == before["spec"]["template"]
    assert (after["spec"]["replicas"], routed) == (0, TRIAL)


def test_services_whose_selectors_argo_writes_are_not_upgraded_by_the_server(
    release: Release,
) -> None:
    # docs/kubernetes.md tells to install with --server-side=false for that reason.
    nginx = {"nginx": {"stableIngress": "shop-coppice-server"}}
    rollout = {**release.values["rollout"], "argo": {"trafficRouting": nginx}}
    release.upgrade(rollout=rollout)
    key = Key("v1", "services", chart.NAMESPACE, "shop-coppice-server")
    found = release.cluster.store.get(key)["spec"]["selector"]
    told = {"spec": {"selector": {**found, "rollouts-pod-template-hash": "6c54544bf9"}}}
    release.cluster.store.update(key, lambda now: kube_store.merged(now, told))
    release.cluster.store.own(key, told, "rollouts-controller")

    with pytest.raises(chart.engine().HelmError, match=r"conflict.*spec\.selector"):
        release.upgrade(rollout=rollout)


def test_a_version_that_is_being_rolled_out_goes_on_through_an_upgrade(release: Release) -> None:
    verdict = "undecided"
    argo = Argo(release.cluster, ROLLOUT.name, lambda: verdict, namespace=chart.NAMESPACE)
    release.backend.apply(ALONE)
    argo.reconcile(3)
    release.backend.apply(TRIAL)
    argo.reconcile(3)
    assert release.backend.observe().tool.phase == "progressing"  # type: ignore[union-attr]

    release.upgrade(commonAnnotations={"owner": "somebody"})
    argo.reconcile()
    release.backend.steer("promote")
    argo.reconcile(2)

    assert release.backend.observe().tool.phase == "promoted"  # type: ignore[union-attr]
    assert pods.answering(release.annotation()) == "digits:b"


def test_a_chart_that_named_the_version_itself_would_be_refused(
    release: Release, tmp_path: Path
) -> None:
    release.backend.apply(ALONE)
    wanted = release.rollout()
    wanted["spec"]["template"]["metadata"]["annotations"][pods.ROUTING] = "mine"
    applied = {
        "apiVersion": wanted["apiVersion"],
        "kind": "Rollout",
        "metadata": {"name": ROLLOUT.name},
        "spec": wanted["spec"],
    }

    with pytest.raises(kube_store.Refused, match=r"conflicts: .*coppice\.dev/routing"):
        release.cluster.store.apply(ROLLOUT, applied, "helm", force=False)


def test_two_controllers_of_a_release_share_its_lease(release: Release) -> None:
    assert release.backend.leads()

    leases = release.cluster.store.list("coordination.k8s.io/v1", "leases", chart.NAMESPACE)
    assert [lease["metadata"]["name"] for lease in leases] == ["shop-coppice"]


def test_nothing_of_the_chart_is_left_after_it_is_uninstalled(release: Release) -> None:
    release.helm.uninstall(chart.NAME)

    rendered = chart.release("argo-rollout").objects
    left = [
        each["kind"]
        for each in rendered
        if release.cluster.store.has(release.cluster.key(each, chart.NAMESPACE))
    ]
    assert left == []


@pytest.mark.parametrize(
    ("version", "handler"),
    [
        ("v1.29.14", {"exec": {"command": ["sleep", "5"]}}),
        ("v1.30.0", {"sleep": {"seconds": 5}}),
    ],
)
def test_a_cluster_whose_kubelet_does_not_sleep_gets_a_program_that_does(
    version: str, handler: dict[str, Any]
) -> None:
    with kube_server.running(schemas=kube_store.crd_schemas(), version=version) as cluster:
        helm = chart.engine().Config(
            kubeconfig_content=cluster.kubeconfig(ADMIN, chart.NAMESPACE),
            namespace=chart.NAMESPACE,
            storage_driver="memory",
        )
        helm.install(str(chart.FOLDER), chart.NAME, chart.values("argo-rollout"))
        (server,) = cluster.store.get(ROLLOUT)["spec"]["template"]["spec"]["containers"]
        helm.close()

    assert server["lifecycle"]["preStop"] == handler


def test_a_controller_whose_role_was_taken_away_says_which_verb_it_lacks(release: Release) -> None:
    release.cluster.roles[CONTROL] = Role([])

    with pytest.raises(errors.ClusterProblem, match="cannot get resource 'rollouts'"):
        release.backend.apply(ALONE)
