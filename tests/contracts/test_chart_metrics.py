"""Whatever shows metrics in a pod of the chart is found, and may be reached, by Prometheus."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.support import chart, manifests
from tests.support.manifests import Object

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

PROMETHEUS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def everything(**places: Any) -> chart.Release:
    """Return the mode that has all parts, with a retrainer that stays and some values changed."""
    return chart.render(chart.changed("everything", retrain__kind="deployment", **places))


def numbers(found: chart.Release) -> dict[str, int]:
    """Return the number of every named port of the pods of a release."""
    return {
        port["name"]: port["containerPort"]
        for pod in manifests.pods(found.objects)
        for box in pod.containers
        for port in box.get("ports", [])
    }


def jobs(monitor: Object, ends: str) -> dict[str, str]:
    """Return the job that each endpoint of a monitor gets, by its port."""
    return {
        end["port"]: each["replacement"]
        for end in monitor["spec"][ends]
        for each in end["relabelings"]
        if each["targetLabel"] == "job"
    }


def doors(found: chart.Release, component: str) -> set[str | int]:
    """Return the ports at which a policy lets Prometheus in."""
    rules = chart.named(found, "NetworkPolicy", f"-{component}")["spec"]["ingress"]
    return {port["port"] for rule in rules if PROMETHEUS in rule["from"] for port in rule["ports"]}


def test_processes_listen_where_their_containers_say() -> None:
    found = everything()
    config = chart.named(found, "ConfigMap", "-coppice")["data"]["coppice.toml"]
    told = tomllib.loads(config)
    there = numbers(found)
    assert told["metrics"]["host"] == "0.0.0.0"
    assert told["kafka"]["relay_metrics_port"] == there["relay"] == 3013
    assert told["kafka"]["follow_metrics_port"] == there["follow"] == 3014
    assert told["retrain"]["metrics_port"] == there["retrain"] == 3015


def test_pods_are_watched_for_what_no_service_leads_to() -> None:
    found = everything()
    ends = "podMetricsEndpoints"
    assert jobs(chart.named(found, "PodMonitor", "-server"), ends) == {"relay": "coppice-relay"}
    assert jobs(chart.named(found, "PodMonitor", "-control"), ends) == {
        "relay": "coppice-relay",
        "follow": "coppice-follow",
    }
    assert jobs(chart.named(found, "PodMonitor", "-retrainer"), ends) == {
        "relay": "coppice-relay",
        "follow": "coppice-follow",
        "retrain": "coppice-retrain",
    }
    assert jobs(chart.named(found, "ServiceMonitor", "-server"), "endpoints") == {
        "http": "coppice-service"
    }


def test_pods_alone_are_watched_where_that_is_chosen() -> None:
    found = everything(metrics__scrape="podMonitor")
    assert chart.of_kind(found.objects, "ServiceMonitor") == []
    assert jobs(chart.named(found, "PodMonitor", "-server"), "podMetricsEndpoints") == {
        "http": "coppice-service",
        "relay": "coppice-relay",
    }
    assert jobs(chart.named(found, "PodMonitor", "-control"), "podMetricsEndpoints") == {
        "monitor": "coppice-monitor",
        "http": "coppice-rollout",
        "relay": "coppice-relay",
        "follow": "coppice-follow",
    }


def test_prometheus_may_reach_every_port_that_is_watched() -> None:
    found = everything()
    assert doors(found, "server") == {"http", 3013}
    assert doors(found, "control") == {"http", "monitor", 3013, 3014}
    assert doors(found, "retrainer") == {3013, 3014, 3015}


def test_without_a_prometheus_nobody_may_reach_the_retrainer() -> None:
    found = everything(networkPolicy__prometheus=[])
    assert chart.named(found, "NetworkPolicy", "-retrainer")["spec"]["ingress"] == []
    assert [
        port["port"]
        for rule in chart.named(found, "NetworkPolicy", "-control")["spec"]["ingress"]
        for port in rule["ports"]
    ] == ["http", "monitor"]


def test_the_pods_of_jobs_are_not_watched() -> None:
    found = chart.release("everything")
    monitors = chart.of_kind(found.objects, "PodMonitor")
    assert {each["metadata"]["name"].rpartition("-")[2] for each in monitors} == {
        "server",
        "control",
    }


def test_a_retrainer_that_stays_asks_to_be_scraped_at_its_own_port() -> None:
    found = everything(metrics__scrape="annotations")
    assert chart.of_kind(found.objects, "PodMonitor", "ServiceMonitor") == []
    asked = {
        pod.owner.rpartition("-")[2]: pod.annotations.get("prometheus.io/port")
        for pod in manifests.pods(found.objects)
        if "prometheus.io/scrape" in pod.annotations
    }
    assert asked == {"server": "3000", "control": "3001", "retrainer": "3015"}


def test_the_absence_of_a_retrainer_that_stays_wakes_somebody() -> None:
    told = {
        rule.get("alert")
        for each in chart.of_kind(everything().objects, "PrometheusRule")
        for group in each["spec"]["groups"]
        for rule in group["rules"]
    }
    assert {"CoppiceRetrainerAbsent", "CoppiceRelayAbsent", "CoppiceFollowerAbsent"} <= told
