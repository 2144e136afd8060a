"""What a platform adds to the chart reaches what needs it; who may ask, and who is watched how."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coppice import settings
from tests.support import chart, manifests, wiring
from tests.support.manifests import Object

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

ADDED: dict[str, Any] = {
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraVolumes": [{"name": "more", "secret": {"secretName": "theirs"}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more", "readOnly": True}],
}
ROUTED = {"nginx": {"stableIngress": "shop-coppice-server"}}


def release(mode: str, **places: Any) -> chart.Release:
    return chart.render(chart.changed(mode, **places))


def with_additions(found: chart.Release) -> Iterator[tuple[str, str]]:
    """Yield pod and container of all that has both the variable and the mount."""
    for pod in manifests.pods(found.objects):
        for box in pod.everything:
            named = {each["name"] for each in box.get("env", [])}
            mounted = {each["mountPath"] for each in box.get("volumeMounts", [])}
            if {"HTTPS_PROXY"} <= named and {"/more"} <= mounted:
                yield pod.owner.rpartition("-")[2], box["name"]


@pytest.mark.parametrize(
    ("mode", "places", "reached"),
    [
        ("local", {f"server__{name}": value for name, value in ADDED.items()}, {
            ("server", "server"),
            ("server", "pull"),
        }),
        ("argo-rollout", {f"control__{name}": value for name, value in ADDED.items()}, {
            ("control", "monitor"),
            ("control", "controller"),
        }),
        (
            "local",
            {"retrain": {"kind": "deployment", **ADDED}},
            {("retrainer", "retrain")},
        ),
        (
            "local",
            {"retrain": {"kind": "cronjob", **ADDED}},
            {("retrainer", "follow"), ("retrainer", "retrain"), ("retrainer", "relay")},
        ),
    ],
    ids=["server", "control", "retrainer", "cronjob"],
)  # fmt: skip
def test_what_is_added_to_a_pod_reaches_what_needs_it(
    mode: str, places: dict[str, Any], reached: set[tuple[str, str]]
) -> None:
    found = release(mode, **places)
    assert set(with_additions(found)) == reached
    assert list(manifests.volumes(found.objects)) == []


def test_a_file_of_the_project_arrives_to_the_letter() -> None:
    text = "  begins with blanks\n\ttab: 'x'\r\n# ends without a line's end"
    (found,) = [
        each["data"]["project.py"]
        for each in chart.of_kind(release("local", files={"project.py": text}).objects, "ConfigMap")
        if "project.py" in each["data"]
    ]
    assert found == text


def test_the_settings_end_with_a_line(tmp_path: Path) -> None:
    (found,) = [
        each["data"]["coppice.toml"]
        for each in chart.of_kind(chart.release("local").objects, "ConfigMap")
        if "coppice.toml" in each["data"]
    ]
    (tmp_path / "coppice.toml").write_text(found)
    assert found.endswith("\n")
    assert settings.load(tmp_path).project.name == "digits"


def policy(found: chart.Release, component: str) -> Object:
    (wanted,) = [
        each
        for each in chart.of_kind(found.objects, "NetworkPolicy")
        if each["metadata"]["name"].endswith(component)
    ]
    spec: Object = wanted["spec"]
    return spec


def test_whoever_may_ask_a_server_may_ask_it_by_grpc_too() -> None:
    shut = {"enabled": True, "clients": [{"podSelector": {}}]}
    with_it = release("local", networkPolicy=shut, config__serve={"grpc_port": 3003})
    without = release("local", networkPolicy=shut)

    assert policy(with_it, "server")["ingress"][0]["ports"] == [{"port": "http"}, {"port": "grpc"}]
    assert policy(without, "server")["ingress"][0]["ports"] == [{"port": "http"}]


def test_ports_that_are_opened_are_not_complained_of() -> None:
    places = {
        "networkPolicy": {
            "enabled": True,
            "kafka": {"ports": [19092]},
            "objectStore": {"ports": [9000]},
        },
        "config__kafka__servers": "a:19092",
        "store__s3__endpoint": "http://minio.s3:9000",
    }
    ports = [
        [port["port"] for port in rule["ports"]]
        for rule in policy(release("local", **places), "server")["egress"]
    ]
    assert ports == [[53, 53], [19092], [9000]]


def monitored(found: chart.Release, pod: manifests.PodTemplate) -> list[str]:
    """Return by what a pod's port `http` is scraped: each way is a series of its own."""
    services = chart.of_kind(found.objects, "Service")
    by_service = [
        f"{each['metadata']['name']} of {service['metadata']['name']}"
        for each in chart.of_kind(found.objects, "ServiceMonitor")
        for service in services
        if wiring.fits(each["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        and wiring.fits(service["spec"]["selector"], pod.labels)
    ]
    directly = [
        str(each["metadata"]["name"])
        for each in chart.of_kind(found.objects, "PodMonitor")
        if wiring.fits(each["spec"]["selector"]["matchLabels"], pod.labels)
        and "http" in {end["port"] for end in each["spec"]["podMetricsEndpoints"]}
    ]
    return by_service + directly


@pytest.mark.parametrize(
    ("mode", "places"),
    [
        ("argo-rollout", {}),
        ("argo-rollout", {"rollout__argo__trafficRouting": ROUTED}),
        ("gateway", {}),
        ("local", {}),
    ],
)
@pytest.mark.parametrize("scrape", ["serviceMonitor", "podMonitor"])
def test_every_pod_that_serves_is_scraped_once(
    mode: str, places: dict[str, Any], scrape: str
) -> None:
    # Argo's two Services lead to the same pods while no rollout is under way.
    found = release(mode, metrics__scrape=scrape, **places)
    pods = [pod for pod in manifests.pods(found.objects) if "app" in pod.labels]
    assert pods
    assert {len(monitored(found, pod)) for pod in pods} == {1}


@pytest.mark.parametrize(
    ("scrape", "told"),
    [
        ("annotations", set()),
        ("serviceMonitor", {"CoppiceControllerAbsent"}),
        ("podMonitor", {"CoppiceControllerAbsent"}),
    ],
)
def test_nobody_is_woken_for_a_controller_that_no_annotation_leads_to(
    scrape: str, told: set[str]
) -> None:
    found = release("argo-rollout", metrics={"scrape": scrape, "rules": {"enabled": True}})
    alerts = {
        rule.get("alert")
        for each in chart.of_kind(found.objects, "PrometheusRule")
        for group in each["spec"]["groups"]
        for rule in group["rules"]
    }
    assert alerts & {"CoppiceControllerAbsent", "CoppiceServerAbsent"} == {
        "CoppiceServerAbsent",
        *told,
    }


def test_flagger_is_told_of_the_ingress_whose_traffic_it_splits() -> None:
    ingress = {"enabled": True, "host": "a.example.org"}
    found = release("flagger", flagger__provider="nginx", ingress=ingress)
    (canary,) = chart.of_kind(found.objects, "Canary")
    (made,) = chart.of_kind(found.objects, "Ingress")
    (path,) = made["spec"]["rules"][0]["http"]["paths"]
    assert canary["spec"]["ingressRef"]["name"] == made["metadata"]["name"]
    # It looks there for the service that it makes, which has the target's name.
    assert path["backend"]["service"]["name"] == canary["spec"]["targetRef"]["name"]


def test_a_controller_that_still_reads_its_log_is_not_started_again() -> None:
    (control,) = [
        pod
        for pod in manifests.pods(chart.release("argo-rollout").objects)
        if pod.owner.endswith("-control")
    ]
    started = {
        box["name"]: box["startupProbe"]["periodSeconds"] * box["startupProbe"]["failureThreshold"]
        for box in control.spec["containers"]
    }
    assert started == {"monitor": 300, "controller": 300}
