"""The chart, rendered by the real Helm engine in every mode, is what clusters and tools take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import chart, kinds, manifests, references, wholeness
from tests.support.manifests import Object, Objects

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

MODES = chart.modes()


def distinct(wanted: Callable[[Object], bool]) -> list[Object]:
    """Return the objects of all modes, each form of one once."""
    found = {
        manifests.canonical(each): each
        for mode in MODES
        for each in chart.release(mode).objects
        if wanted(each)
    }
    return list(found.values())


def test_there_is_a_mode_for_every_way_to_install() -> None:
    assert set(MODES) == {
        "argo-rollout",
        "argo-workload-ref",
        "everything",
        "flagger",
        "gateway",
        "gitops",
        "hpa",
        "kafka-tls-sasl",
        "keda",
        "local",
        "minimal",
        "registry-pvc",
        "registry-s3",
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_strict_lint_finds_nothing(mode: str) -> None:
    assert chart.findings(chart.values(mode)) == []


@pytest.mark.parametrize("cluster", [f"v{version}.0" for version in kinds.VERSIONS])
def test_no_supported_cluster_has_removed_what_is_used(cluster: str) -> None:
    assert chart.findings(chart.values("everything"), cluster=cluster) == []


def test_the_defaults_of_the_chart_keep_its_schema() -> None:
    with chart.engine().Chart.load(str(chart.FOLDER)) as loaded:
        loaded.validate_schema({**chart.values("minimal")})


@pytest.mark.parametrize("rule", wholeness.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("mode", MODES)
def test_a_release_keeps_the_rules(mode: str, rule: Callable[[Objects], Iterator[str]]) -> None:
    assert list(rule(chart.release(mode).objects)) == []


@pytest.mark.parametrize("mode", MODES)
def test_everything_that_is_named_is_there(mode: str) -> None:
    found = chart.release(mode)
    assert list(references.missing(found.objects, found.values)) == []
    assert list(references.urls(found.objects, chart.NAMESPACE)) == []


@pytest.mark.parametrize("version", [kinds.VERSIONS[0], kinds.VERSIONS[-1]])
def test_the_oldest_and_the_newest_version_take_the_kinds_of_kubernetes(version: str) -> None:
    found = distinct(lambda each: not kinds.is_custom(each))
    assert len(found) > len(MODES)
    assert [told for each in found for told in kinds.faults_on(version, each)] == []


@pytest.mark.parametrize("version", kinds.VERSIONS[1:-1])
def test_the_versions_between_take_them_too(version: str) -> None:
    found = [each for each in chart.release("everything").objects if not kinds.is_custom(each)]
    assert [told for each in found for told in kinds.faults_on(version, each)] == []


def test_every_tool_takes_its_kinds() -> None:
    found = distinct(kinds.is_custom)
    assert {each["kind"] for each in found} == {
        "AnalysisTemplate",
        "Canary",
        "HTTPRoute",
        "MetricTemplate",
        "PodMonitor",
        "PrometheusRule",
        "Rollout",
        "ScaledObject",
        "ServiceMonitor",
    }
    assert [told for each in found for told in kinds.of_tools(each)] == []


@pytest.mark.parametrize("mode", MODES)
def test_a_render_does_not_depend_on_when_it_is_made(mode: str) -> None:
    again = chart.render(chart.values(mode), is_install=False, is_upgrade=True, revision=7)
    assert again.objects == chart.release(mode).objects


@pytest.mark.parametrize("mode", MODES)
def test_the_notes_say_something_and_no_secret(mode: str) -> None:
    (notes,) = (text for path, text in chart.release(mode).texts.items() if "NOTES" in path)
    assert len(notes.split()) > 20
    assert "<no value>" not in notes


@pytest.mark.parametrize("mode", MODES)
def test_no_value_that_is_missing_leaves_a_trace(mode: str) -> None:
    texts = chart.release(mode).texts
    traces = ("<no value>", "<nil>", "%!s(", "map[")
    assert [path for path, text in texts.items() if any(trace in text for trace in traces)] == []


# Switches that no mode turns: what one part leaves out, no other may go on to name.
SWITCHES = (
    ("local", {"control__enabled": False}),
    ("local", {"metrics__scrape": "serviceMonitor", "control__enabled": False}),
    ("local", {"relay__native": False, "server__preStop__native": False}),
    ("local", {"server__state__kind": "ephemeral"}),
    ("local", {"control__persistence__enabled": False}),
    ("local", {"retrain__kind": "job"}),
    ("local", {"retrain__kind": "deployment", "networkPolicy__enabled": True}),
    ("local", {"networkPolicy__enabled": True, "networkPolicy__prometheus": [{"podSelector": {}}]}),
    ("local", {"networkPolicy__enabled": True, "control__enabled": False}),
    ("local", {"config__serve": {"grpc_port": 3003}, "networkPolicy__enabled": True}),
    ("local", {"files": {"a.py": "  begins with blanks", "b.py": "", "c.py": "ends\n\n"}}),
    ("local", {"tests__tolerations": [{"operator": "Exists"}], "tests__nodeSelector": {"a": "b"}}),
    ("local", {"httpRoute__enabled": True, "httpRoute__parentRefs": [{"name": "a"}]}),
    ("registry-pvc", {"retrain__kind": "cronjob", "retrain__existingClaim": "kept"}),
    ("argo-rollout", {"rollout__analysis__enabled": False}),
    (
        "argo-rollout",
        {"networkPolicy": {"enabled": True, "tools": [{"podSelector": {}}]}, "server__replicas": 1},
    ),
    (
        "argo-rollout",
        {
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "a"}]},
            "rollout__argo__trafficRouting": {
                "plugins": {
                    "argoproj-labs/gatewayAPI": {
                        "httpRoute": "shop-coppice",
                        "namespace": "models",
                    }
                }
            },
        },
    ),
    ("flagger", {"flagger__mirrorWeight": 100}),
    (
        "flagger",
        {
            "autoscaling__hpa__enabled": False,
            "autoscaling__keda": {"enabled": True, "prometheus": "http://prometheus.a:9090"},
        },
    ),
    (
        "flagger",
        {
            "flagger__provider": "nginx",
            "flagger__gatewayRefs": [],
            "ingress": {"enabled": True, "host": "a.example.org"},
        },
    ),
    ("gateway", {"metrics__scrape": "podMonitor", "networkPolicy__enabled": True}),
    (
        "everything",
        {"rollout__argo__trafficRouting": {"nginx": {"stableIngress": "shop-coppice-server"}}},
    ),
    ("everything", {"fullnameOverride": "digits"}),
    ("everything", {"nameOverride": "served", "metrics__dashboards__folder": ""}),
    ("everything", {"serviceAccount__server": {"create": False, "name": "theirs"}}),
)


@pytest.mark.parametrize(("mode", "places"), SWITCHES, ids=range(len(SWITCHES)))
def test_a_switch_leaves_a_release_whole(mode: str, places: dict[str, Any]) -> None:
    assert wholeness.faults(chart.render(chart.changed(mode, **places))) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("metrics__scrape", "podmonitor"),
        ("metrics__interval", 15),
        ("metrics__rules", {"enable": True}),
        ("metrics__dashboards__labelValue", 1),
        ("autoscaling__minReplicas", 0),
        ("autoscaling__hpa__cpu", "70%"),
        ("autoscaling__keda__requestsPerSecond", 0),
        ("podDisruptionBudget__maxUnavailable", "most"),
        ("networkPolicy__kafka", {"ports": ["http"]}),
        ("httpRoute__path", "answers"),
        ("ingress__tls", True),
        ("retrain__kind", "sometimes"),
        ("retrain__schedule", "often"),
        ("flagger__provider", "nginx-ingress"),
        ("control__extraEnv", [{"value": "without a name"}]),
        ("retrain__extraVolume", []),
        ("flagger__maxWeight", 101),
        ("rollout__steps", [{"weight": 101}]),
        ("rollout__steps", []),
        ("rollout__analysis__interval", "soon"),
        ("tests__patienceSeconds", -1),
        ("extraObjects", {}),
    ],
)
def test_a_typo_or_a_wrong_type_is_refused(place: str, value: Any) -> None:
    with pytest.raises(chart.engine().HelmValuesError):
        chart.render(chart.changed("minimal", **{place: value}))


def test_a_longer_name_of_a_release_is_cut() -> None:
    found = chart.render(chart.values("everything"), name="a" * 53)
    assert list(manifests.names(found.objects)) == []
    assert list(manifests.once(found.objects)) == []
