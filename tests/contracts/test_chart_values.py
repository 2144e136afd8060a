"""Values that a platform sets arrive as they were meant; what no cluster takes is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support import chart, manifests, wholeness
from tests.support.manifests import Object

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

MANY = 10_000_000
"""Go writes a number of seven digits and more as 1e+07, which is no whole number to a cluster."""
SPREAD = {
    "topologyKey": "kubernetes.io/hostname",
    "maxSkew": 1,
    "whenUnsatisfiable": "DoNotSchedule",
    "minDomains": 2,
    "matchLabelKeys": ["pod-template-hash"],
}
WORDS = {"existingSecret": "1e3", "key": "on"}
"""Names that YAML takes for a number and for a yes, where nobody quotes them."""


def release(mode: str, **places: Any) -> chart.Release:
    return chart.render(chart.changed(mode, **places))


def pod(found: chart.Release, name: str) -> manifests.PodTemplate:
    (wanted,) = [each for each in manifests.pods(found.objects) if each.owner.endswith(name)]
    return wanted


@pytest.mark.parametrize(
    ("mode", "places"),
    [
        ("local", {
            "server__progressDeadlineSeconds": MANY,
            "server__terminationGracePeriodSeconds": MANY,
            "server__replicas": MANY,
            "server__probes__startup__failureThreshold": MANY,
            "control__terminationGracePeriodSeconds": MANY,
            "podSecurityContext__runAsUser": 1_000_660_000,
            "podSecurityContext__fsGroup": 1_000_660_000,
            "podDisruptionBudget__maxUnavailable": MANY,
            "store__sizeLimit": 5_000_000_000,
            "tmpSizeLimit": 5_000_000_000,
            "server__state__size": 50_000_000_000,
            "control__persistence__size": 50_000_000_000,
        }),
        ("local", {"retrain": {"kind": "job", "deadlineSeconds": MANY, "retries": MANY}}),
        ("keda", {
            "autoscaling__minReplicas": MANY,
            "autoscaling__maxReplicas": MANY,
            "autoscaling__keda__pollingSeconds": MANY,
            "autoscaling__keda__cooldownSeconds": MANY,
        }),
        ("flagger", {"flagger__progressDeadlineSeconds": MANY, "flagger__threshold": MANY}),
        ("argo-rollout", {
            "server__maxSurge": MANY,
            "rollout__analysis__count": MANY,
            "rollout__argo__rollbackRevisions": MANY,
            "rollout__argo__abortScaleDownDelaySeconds": MANY,
            "rollout__argo__trafficRouting": {"nginx": {"stableIngress": "shop-coppice-server"}},
        }),
    ],
    ids=["local", "job", "keda", "flagger", "argo"],
)  # fmt: skip
def test_a_large_number_stays_a_whole_number(mode: str, places: dict[str, Any]) -> None:
    assert wholeness.faults(release(mode, **places)) == []


@pytest.mark.parametrize(
    ("mode", "places"),
    [
        ("everything", {"config__project__name": "123"}),
        ("flagger", {"config__project__name": "123"}),
        ("registry-pvc", {"store__pvc__subPath": "123"}),
        ("local", {"control__persistence__storageClassName": "on"}),
        ("local", {"server__state": {"kind": "ephemeral", "storageClassName": "1"}}),
        ("local", {"server__priorityClassName": "123", "control__priorityClassName": "1e3"}),
        ("argo-rollout", {"secrets__routingKey": WORDS, "secrets__controlToken": WORDS}),
        ("local", {"store__s3__existingSecret": "123", "store__s3__accessKeyKey": "on"}),
        ("registry-pvc", {"store__pvc__existingClaim": "123"}),
        ("keda", {"autoscaling__keda__existingTriggerAuthentication": "123"}),
        ("local", {"ingress": {"enabled": True, "host": "a.b", "className": "123"}}),
        ("gateway", {"fullnameOverride": "true"}),
        ("argo-rollout", {"serviceAccount__control__name": "123"}),
    ],
    ids=range(13),
)
def test_a_word_that_looks_like_something_else_stays_a_word(
    mode: str, places: dict[str, Any]
) -> None:
    assert wholeness.faults(release(mode, **places)) == []


@pytest.mark.parametrize("namespace", ["123", "true", "1e3"])
def test_a_namespace_that_looks_like_something_else_stays_a_name(namespace: str) -> None:
    found = chart.render(chart.values("argo-rollout"), namespace=namespace)
    assert wholeness.faults(found, namespace=namespace) == []


@pytest.mark.parametrize(
    "places",
    [
        {"commonLabels": {"release": "mine"}},
        {"commonLabels": {"grafana_dashboard": "0", "app": "mine"}},
        {"commonAnnotations": {"grafana_folder": "mine", "a/b": "c"}},
        {"server__podLabels": {"app": "mine"}, "commonLabels": {"tier": "mine"}},
        {"metrics__scrape": "annotations", "server__podAnnotations": {"prometheus.io/port": "1"}},
        {"server__podAnnotations": {"checksum/config": "mine"}},
        {"imagePullSecrets": [{"name": "digits-store"}], "server__topologySpread": [SPREAD]},
        {"server__resources": {"requests": {"cpu": 0.5, "nvidia.com/gpu": 1}}},
        {"listen": "::"},
        {"store__s3__existingSecret": "", "server__extraEnv": [{"name": "AWS_ACCESS_KEY_ID"}]},
        {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    ],
    ids=range(11),
)
def test_what_a_platform_sets_leaves_a_release_whole(places: dict[str, Any]) -> None:
    # The parser of the tests refuses a key that comes twice, as Flux and kubectl do.
    assert wholeness.faults(release("everything", **places)) == []


def test_of_two_that_set_one_label_the_nearer_one_wins() -> None:
    found = release(
        "everything",
        commonLabels={"release": "far", "grafana_dashboard": "0", "app": "far"},
        metrics__labels={"release": "near"},
    )
    assert (
        chart.named(found, "ServiceMonitor", "-control")["metadata"]["labels"]["release"] == "near"
    )
    assert chart.named(found, "Service", "-control")["metadata"]["labels"]["release"] == "far"
    assert (
        chart.named(found, "ConfigMap", "-overview")["metadata"]["labels"]["grafana_dashboard"]
        == "1"
    )
    # By this one Flagger and the Services find pods.
    assert pod(found, "-server").labels["app"] == "shop-coppice-server"


def test_who_is_scraped_can_be_said_for_one_pod() -> None:
    found = release("local", server__podAnnotations={"prometheus.io/scrape": "false"})
    assert pod(found, "-server").annotations["prometheus.io/scrape"] == "false"
    assert pod(found, "-server").annotations["prometheus.io/port"] == "3000"
    assert pod(found, "-control").annotations["prometheus.io/scrape"] == "true"


def test_shares_of_pods_are_shares() -> None:
    found = release(
        "local",
        server__maxSurge="25%",
        server__maxUnavailable="0%",
        podDisruptionBudget__maxUnavailable="50%",
    )
    deployment = chart.named(found, "Deployment", "-server")
    budget = chart.named(found, "PodDisruptionBudget", "-server")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": "25%",
        "maxUnavailable": "0%",
    }
    assert budget["spec"]["maxUnavailable"] == "50%"


def test_pods_listen_where_it_is_said_whatever_their_image_says() -> None:
    found = release("argo-rollout", listen="::")
    (settings,) = [
        each["data"]["coppice.toml"]
        for each in chart.of_kind(found.objects, "ConfigMap")
        if "coppice.toml" in each["data"]
    ]
    told = {
        (box["name"], each["name"], each["value"])
        for pod in manifests.pods(found.objects)
        for box in pod.spec["containers"]
        for each in box.get("env", [])
        if each["name"].endswith("__HOST")
    }
    assert settings.count('host = "::"') == 4  # serve, monitor, metrics, rollout
    assert {
        ("server", "COPPICE_SERVE__HOST", "::"),
        ("monitor", "COPPICE_MONITOR__HOST", "::"),
    } <= told


@pytest.mark.parametrize(
    ("mode", "places", "told"),
    [
        ("local", {"server__maxSurge": 0}, "no pod could be replaced"),
        ("argo-rollout", {"server__maxSurge": "0%"}, "no pod could be replaced"),
        ("local", {"serviceAccount__server": {"create": False}}, "serviceAccount.server.name"),
        ("local", {"serviceAccount__control": {"create": False}}, "serviceAccount.control.name"),
        (
            "argo-rollout",
            {"serviceAccount": {"server": {"name": "one"}, "control": {"name": "one"}}},
            "none of the rights",
        ),
        ("local", {"config__serve": {"grpc_port": 3013}}, "choose none of 3000, 3013"),
        ("local", {"config__serve": {"grpc_port": 80}}, "each port once"),
        ("argo-rollout", {"control__service": {"port": 3001}}, "each port once"),
        (
            "local",
            {"server__extraEnv": [{"name": "AWS_ACCESS_KEY_ID", "value": "mine"}]},
            "server.extraEnv has AWS_ACCESS_KEY_ID, which the chart sets itself",
        ),
        (
            "local",
            {"control__extraEnv": [{"name": "COPPICE_MONITOR__HOST", "value": "::1"}]},
            "the chart sets itself",
        ),
        (
            "local",
            {"retrain__extraEnv": [{"name": "A"}, {"name": "A"}]},
            "retrain.extraEnv has A t",
        ),
        ("argo-rollout", {"networkPolicy": {"enabled": True}}, "argo could not ask for verdicts"),
        ("flagger", {"networkPolicy": {"enabled": True}}, "flagger could not ask for verdicts"),
    ],
)
def test_what_no_cluster_takes_is_refused_with_what_to_do(
    mode: str, places: dict[str, Any], told: str
) -> None:
    with pytest.raises(chart.engine().HelmRenderError, match=told):
        release(mode, **places)


@pytest.mark.parametrize("name", ["1shop", "a.b"])
def test_a_release_whose_name_no_service_can_have_is_refused(name: str) -> None:
    with pytest.raises(chart.engine().HelmRenderError, match="set fullnameOverride"):
        chart.render(chart.values("local"), name=name)
    chosen = {**chart.values("local"), "fullnameOverride": "shop"}
    assert wholeness.faults(chart.render(chosen, name=name)) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("server__probes__startup", {"successThreshold": 2}),
        ("server__probes__liveness", {"successThreshold": 2}),
        ("commonLabels", {"helm.sh/chart": "mine"}),
        ("server__maxSurge", "25"),
        ("podDisruptionBudget__maxUnavailable", "-1%"),
        ("listen", "127.0.0.1"),
        ("store__s3__prefix", "models/"),
        ("store__s3__region", "EU (Ireland)"),
        ("store__s3__endpoint", "minio:9000"),
        ("server__resources", {"requests": {"cpu": -1}}),
    ],
)
def test_what_no_cluster_and_no_pod_takes_is_refused_by_the_schema(place: str, value: Any) -> None:
    with pytest.raises(chart.engine().HelmValuesError):
        release("local", **{place: value})


def notes(found: chart.Release) -> str:
    (text,) = (text for path, text in found.texts.items() if path.endswith("NOTES.txt"))
    return text


@pytest.mark.parametrize("enabled", [True, False])
def test_the_notes_name_pods_that_there_are(enabled: object) -> None:
    found = release("local", control__enabled=enabled)
    names = {each["metadata"]["name"] for each in found.objects} | {
        f"{each['metadata']['name']}-0" for each in chart.of_kind(found.objects, "StatefulSet")
    }
    told = set(re.findall(r" exec (?:deployment/)?(\S+) --container", notes(found)))
    assert told
    assert told <= names


@pytest.mark.parametrize("prometheus", [[], [{"podSelector": {}}]])
def test_the_notes_warn_where_nobody_can_look_at_the_pods(prometheus: list[Object]) -> None:
    shut = release("local", networkPolicy={"enabled": True, "prometheus": prometheus})
    assert ("networkPolicy.prometheus is empty" in notes(shut)) is not bool(prometheus)
    assert "networkPolicy.prometheus is empty" not in notes(release("local"))


def test_two_releases_in_one_namespace_share_no_name() -> None:
    first, second = (
        {
            (each["kind"], each["metadata"]["name"])
            for each in chart.render(chart.values(mode), name=name).objects
        }
        for mode, name in (("everything", "one"), ("gateway", "two"))
    )
    assert first & second == set()


def test_a_selector_finds_no_pod_of_another_release() -> None:
    one, two = (chart.render(chart.values("everything"), name=name) for name in ("one", "two"))
    others = [each.labels for each in manifests.pods(two.objects)]
    services = [each["spec"]["selector"] for each in chart.of_kind(one.objects, "Service")]
    assert services
    assert [
        found for found in services for labels in others if found.items() <= labels.items()
    ] == []


def fixed(found: chart.Release) -> dict[str, Object]:
    """Return what a cluster lets nobody change of the workloads of a release, by name."""
    fields = ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")
    return {
        manifests.title(each): {field: each["spec"].get(field) for field in fields}
        for each in chart.of_kind(found.objects, "Deployment", "StatefulSet", "Rollout")
    }


@pytest.mark.parametrize("mode", ["everything", "gateway", "flagger"])
def test_no_upgrade_touches_what_a_cluster_lets_nobody_change(mode: str) -> None:
    later = {
        "commonLabels": {"team": "other", "cost": "centre"},
        "commonAnnotations": {"a/b": "c"},
        "server__podLabels": {"tier": "batch"},
        "server__podAnnotations": {"a/b": "c"},
        "control__podLabels": {"tier": "batch"},
        "images__server__tag": "9.9.9",
        "model__initialRef": "digits:0b7d3c55",
        "config__serve": {"workers": 3},
        "control__replicas": 3,
        "listen": "::",
        "server__state__kind": "ephemeral",
    }
    assert fixed(release(mode))
    assert fixed(release(mode, **later)) == fixed(release(mode))
