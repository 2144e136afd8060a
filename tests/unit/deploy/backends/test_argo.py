from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coppice import errors, settings
from coppice.clock import SystemClock
from coppice.routing import RoutingTable
from deploy import backends
from deploy.backends.argo import ROLLOUTS, ArgoBackend, tool_of
from deploy.backends.base import Tool
from deploy.backends.kube import pods
from deploy.backends.kube.access import Access
from deploy.backends.kube.client import Client, Patience, Resource
from deploy.backends.kube.connect import Parts
from deploy.backends.kube.lease import Lease
from deploy.backends.kube.portal import Portal
from deploy.backends.kube.workload import Place, Workload, tend
from tests.support import kube_server, kube_store
from tests.support.kube_server import Cluster, Fault
from tests.support.kube_store import Key

KEY = Key("argoproj.io/v1alpha1", "rollouts", "default", "digits")
STEPS = [{"setWeight": 10}, {"analysis": {"templates": []}}, {"setWeight": 50}, {"pause": {}}]
ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "digits"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "digits"}},
        "strategy": {"canary": {"steps": STEPS}},
        "template": {
            "metadata": {"labels": {"app": "digits"}},
            "spec": {"containers": [{"name": "server", "image": "coppice"}]},
        },
    },
}
ALONE = RoutingTable(generation=1, model="m", champion="m:a")
TRIAL = RoutingTable(generation=2, model="m", champion="m:a", candidate="m:b", mirror=1.0)
PROMOTED = RoutingTable(generation=3, model="m", champion="m:b", previous="m:a")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kube_server.running(schemas=kube_store.crd_schemas()) as running:
        running.add(ROLLOUT)
        yield running


@pytest.fixture
def argo(cluster: Cluster) -> Iterator[ArgoBackend]:
    portal = Portal()
    patience = Patience(total=1.0, first_pause=0.005, longest_pause=0.02)
    client = Client(Access(cluster.url, "default"), patience)
    lease = Lease(client, "coppice", "me", SystemClock())
    backend = ArgoBackend(Parts(client, lease, portal), Workload(client, Place(ROLLOUTS, "digits")))
    yield backend
    backend.close()


def template(cluster: Cluster) -> RoutingTable:
    annotations = cluster.store.get(KEY)["spec"]["template"]["metadata"]["annotations"]
    return pods.decode(annotations[pods.ROUTING])


def pod(cluster: Cluster, name: str, table: RoutingTable) -> Key:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": "digits"},
            "annotations": {pods.ROUTING: pods.encode(table)},
        },
    }
    cluster.add(manifest)
    return cluster.key(manifest)


def test_a_rollout_that_was_never_routed_shows_no_table(argo: ArgoBackend) -> None:
    assert argo.observe().table is None


def test_a_table_that_was_applied_is_observed(argo: ArgoBackend) -> None:
    argo.apply(ALONE)
    argo.apply(TRIAL)

    assert argo.observe().table == TRIAL


def test_a_candidate_changes_the_template_and_nothing_else_of_the_spec(
    argo: ArgoBackend, cluster: Cluster
) -> None:
    argo.apply(ALONE)
    argo.apply(TRIAL)

    spec = cluster.store.get(KEY)["spec"]
    assert template(cluster).candidate == "m:b"
    assert spec["strategy"] == ROLLOUT["spec"]["strategy"]  # type: ignore[index]
    assert spec["template"]["metadata"]["labels"] == {"app": "digits"}


def test_an_older_table_is_refused(argo: ArgoBackend) -> None:
    argo.apply(TRIAL)

    with pytest.raises(errors.RolloutError, match="generation 2 already"):
        argo.apply(ALONE)


def test_of_two_writers_the_second_plans_again(argo: ArgoBackend, cluster: Cluster) -> None:
    argo.apply(ALONE)
    # The write happens and its answer is lost: when it is tried again the world has moved on.
    cluster.fail(Fault(503, verb="patch", done_all_the_same=True))

    with pytest.raises(errors.ClusterConflict):
        argo.apply(TRIAL)

    assert argo.observe().table == TRIAL


def test_an_abort_stops_argo_before_the_annotation_goes_back(
    argo: ArgoBackend, cluster: Cluster
) -> None:
    argo.apply(ALONE)
    first = template(cluster)
    argo.apply(TRIAL)
    since = cluster.store.revision

    argo.abort("it is worse")

    writes = [change.object for change in cluster.store.since(since, KEY.version, KEY.plural)]
    assert writes[0]["status"]["abort"] is True
    assert "m:b" in writes[0]["spec"]["template"]["metadata"]["annotations"][pods.ROUTING]
    assert template(cluster) == first
    assert argo.observe().table == RoutingTable(generation=3, model="m", champion="m:a")


@pytest.mark.parametrize(
    "press",
    [
        lambda argo: argo.abort("it is worse"),
        lambda argo: argo.steer("promote"),
        lambda argo: argo.steer("pause"),
        lambda argo: argo.steer("resume"),
    ],
    ids=["abort", "promote", "pause", "resume"],
)
def test_a_button_is_pressed_for_the_rollout_that_was_seen_and_for_no_later_one(
    argo: ArgoBackend,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    press: Callable[[ArgoBackend], object],
) -> None:
    argo.apply(ALONE)
    argo.apply(TRIAL)
    send = Client._send
    other = {"metadata": {"annotations": {"by": "another controller"}}}

    async def meddled(client: Client, method: str, path: str, *rest: Any) -> Any:
        if method == "PATCH":
            cluster.store.update(KEY, lambda now: kube_store.merged(now, other))
        return await send(client, method, path, *rest)

    monkeypatch.setattr(Client, "_send", meddled)

    with pytest.raises(errors.ClusterConflict):
        press(argo)

    found = cluster.store.get(KEY)
    assert (found.get("status", {}), found["spec"].get("paused")) == ({}, None)


def test_an_abort_without_a_candidate_changes_nothing(argo: ArgoBackend, cluster: Cluster) -> None:
    argo.apply(ALONE)
    since = cluster.store.revision

    argo.abort("by mistake")

    assert cluster.store.revision == since


def test_an_abort_that_was_cut_short_is_finished_by_the_next(
    argo: ArgoBackend, cluster: Cluster
) -> None:
    argo.apply(TRIAL)
    cluster.store.update(KEY, lambda now: {**now, "status": {"abort": True}}, "status")

    argo.abort("again")

    assert argo.observe().table == RoutingTable(generation=3, model="m", champion="m:a")
    assert cluster.requests["patch rollouts/status"] == 0


def test_pods_that_run_learn_of_their_promotion_without_a_restart(
    argo: ArgoBackend, cluster: Cluster
) -> None:
    argo.apply(ALONE)
    argo.apply(TRIAL)
    answers_with_b = pod(cluster, "new", pods.decode(pods.encode(template(cluster))))
    generation = cluster.store.get(KEY)["metadata"]["generation"]

    argo.apply(PROMOTED)

    told = pods.decode(cluster.store.get(answers_with_b)["metadata"]["annotations"][pods.ROUTING])
    assert (told.champion, told.candidate, told.previous) == ("m:b", None, "m:a")
    assert cluster.store.get(KEY)["metadata"]["generation"] == generation


def test_pods_of_others_are_left_alone(argo: ArgoBackend, cluster: Cluster) -> None:
    other = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"app": "y"}}}
    before = cluster.add(other)

    argo.apply(ALONE)

    assert cluster.store.get(cluster.key(other)) == before


def test_promote_pause_and_resume_are_what_the_tool_understands(
    argo: ArgoBackend, cluster: Cluster
) -> None:
    waiting = [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}]
    cluster.store.update(KEY, lambda now: {**now, "status": {"pauseConditions": waiting}}, "status")

    argo.steer("pause")
    paused = cluster.store.get(KEY)
    argo.steer("resume")
    resumed = cluster.store.get(KEY)
    argo.steer("promote")
    promoted = cluster.store.get(KEY)

    assert paused["spec"]["paused"] is True
    assert resumed["spec"]["paused"] is False
    assert "pauseConditions" not in resumed["status"]
    assert promoted["status"]["promoteFull"] is True


def seen(**status: Any) -> Tool:
    """Return what is read out of a status that Argo wrote after our last change."""
    return tool_of({**ROLLOUT, "metadata": {"generation": 4}, "status": status})


NOW = {"observedGeneration": "4"}
SAME = {"currentPodHash": "x", "stableRS": "x"}
OTHER = {"currentPodHash": "y", "stableRS": "x"}


def test_a_status_from_before_our_change_says_nothing() -> None:
    before = seen(observedGeneration="3", phase="Healthy", **SAME)
    assert (before.phase, before.weight) == ("progressing", 0.0)


def test_a_healthy_rollout_whose_pods_are_the_stable_ones_is_promoted() -> None:
    assert seen(**NOW, phase="Healthy", **SAME) == Tool("promoted", 1.0)


def test_a_healthy_phase_over_other_pods_is_not_yet_a_promotion() -> None:
    assert seen(**NOW, phase="Healthy", **OTHER).phase == "progressing"


@pytest.mark.parametrize("status", [{"phase": "Degraded"}, {"abort": True, "phase": "Progressing"}])
def test_an_abort_is_seen_with_its_reason(status: dict[str, Any]) -> None:
    tool = seen(**NOW, **OTHER, **status, message="metric failed")
    assert tool == Tool("aborted", 0.0, "metric failed")


def test_the_weight_is_what_the_traffic_router_has() -> None:
    weights = {"canary": {"weight": 25}, "stable": {"weight": 75}}
    tool = seen(**NOW, **OTHER, phase="Progressing", canary={"weights": weights})
    assert tool.weight == 0.25


@pytest.mark.parametrize(("step", "weight"), [(0, 0.1), (1, 0.1), (2, 0.5), (3, 0.5)])
def test_without_a_traffic_router_the_weight_is_that_of_the_step(step: int, weight: float) -> None:
    assert seen(**NOW, **OTHER, phase="Paused", currentStepIndex=step).weight == weight


@pytest.mark.parametrize("code", [404, 409])
def test_a_pod_that_changes_or_goes_meanwhile_keeps_nobody_from_being_told(
    argo: ArgoBackend, cluster: Cluster, code: int
) -> None:
    # A kubelet writes the status of its pods all the time.
    argo.apply(ALONE)
    argo.apply(TRIAL)
    both = [pod(cluster, name, template(cluster)) for name in ("one", "two")]
    portal = Portal()
    client = Client(Access(cluster.url, "default"))
    cluster.fail(Fault(code, verb="patch"))

    told = [portal.call(tend(client, [Place(ROLLOUTS, "digits")], PROMOTED)) for _ in range(2)]

    portal.call(client.close())
    portal.close()
    found = [cluster.store.get(key)["metadata"]["annotations"][pods.ROUTING] for key in both]
    # One at once, and the other with the next look.
    assert told == [1, 1]
    assert [pods.decode(text).champion for text in found] == ["m:b", "m:b"]


def test_a_kind_of_workload_that_has_no_selector_keeps_its_pods(cluster: Cluster) -> None:
    portal = Portal()
    client = Client(Access(cluster.url, "default"))
    configmaps = Resource("v1", "configmaps")
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "spec": {}}
    cluster.add(bare)

    told = portal.call(tend(client, [Place(configmaps, "c")], ALONE))

    portal.call(client.close())
    portal.close()
    assert told == 0


def test_the_settings_lead_to_the_rollout_of_the_model(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "kube").write_text(cluster.kubeconfig())
    tree = settings.from_tree(
        {
            "project": {"name": "digits"},
            "rollout": {"backend": "argo"},
            "cluster": {"kubeconfig": "kube"},
        },
        root=tmp_path,
    )

    backend = backends.open_backend(tree)
    backend.apply(ALONE)
    assert backend.leads()
    backend.close()

    assert template(cluster).champion == "m:a"
    leases = Resource("coordination.k8s.io/v1", "leases")
    assert cluster.store.get(Key(*leases, "default", "coppice-digits"))


def test_a_pod_template_that_lies_in_a_deployment_is_changed_there(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "kube").write_text(cluster.kubeconfig())
    cluster.add({**ROLLOUT, "apiVersion": "apps/v1", "kind": "Deployment"})
    tree = settings.from_tree(
        {
            "project": {"name": "digits"},
            "rollout": {"backend": "argo"},
            "cluster": {"kubeconfig": "kube", "template": "digits"},
        },
        root=tmp_path,
    )

    backend = backends.open_backend(tree)
    backend.apply(ALONE)
    backend.apply(TRIAL)
    observed = backend.observe()
    backend.close()

    deployment = cluster.store.get(Key("apps/v1", "deployments", "default", "digits"))
    told = deployment["spec"]["template"]["metadata"]["annotations"][pods.ROUTING]
    assert pods.answering(told) == "m:b"
    assert observed.table == TRIAL
    assert "annotations" not in cluster.store.get(KEY)["spec"]["template"]["metadata"]
