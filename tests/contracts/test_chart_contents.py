"""What the chart renders says what our own programs, rules and dashboards understand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from coppice import settings
from coppice_cli import main, metric_reference
from tests.support import chart, house, manifests, promql, promtool, references, wiring
from tests.support.manifests import Object

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

MODES = chart.modes()
SERIES = {series for metric in metric_reference.catalogue() for series in metric.series}


def by_name(groups: list[Object]) -> list[Object]:
    """Return groups of rules in the order of their names."""
    return sorted(groups, key=lambda group: str(group["name"]))


def groups(found: chart.Release) -> list[Object]:
    """Return every group of rules of a release."""
    rules = chart.of_kind(found.objects, "PrometheusRule")
    return [group for each in rules for group in each["spec"]["groups"]]


def without(rules: list[Object], alert: str) -> list[Object]:
    """Return rules without one alert."""
    return [rule for rule in rules if rule.get("alert") != alert]


def variables(mode: str) -> dict[str, str]:
    """Return our own variables of all containers of a mode; what is secret has a value made up."""
    return {
        each["name"]: each.get("value", "secret")
        for pod in manifests.pods(chart.release(mode).objects)
        for box in pod.everything
        for each in box.get("env", [])
        if each["name"].startswith("COPPICE_")
    }


def only(mode: str, kind: str, part: str = "") -> Object:
    """Return the one object of a kind whose name ends with a part."""
    found = chart.of_kind(chart.release(mode).objects, kind)
    (wanted,) = [each for each in found if each["metadata"]["name"].endswith(part)]
    return wanted


@pytest.mark.parametrize(
    ("kind", "ending"), [("rules", ".yaml"), ("dashboards", ".json")], ids=["rules", "dashboards"]
)
def test_rules_and_dashboards_are_those_of_the_monitoring_plane(kind: str, ending: str) -> None:
    own, source = chart.FOLDER / "files" / kind, house.ROOT / "monitoring" / kind
    found = {path.name: path.read_bytes() for path in own.iterdir()}
    # `make chart` copies them.
    assert found == {path.name: path.read_bytes() for path in source.glob(f"*{ending}")}


def test_every_dashboard_is_in_a_map_that_the_sidecar_finds() -> None:
    maps = [
        found
        for found in chart.of_kind(chart.release("everything").objects, "ConfigMap")
        if found["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    shown = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    folder = house.ROOT / "monitoring" / "dashboards"
    assert shown == {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert {each["metadata"]["annotations"]["grafana_folder"] for each in maps} == {"Coppice"}


def test_the_alerts_are_those_of_the_monitoring_plane_with_their_runbooks_elsewhere() -> None:
    text = json.dumps(promtool.groups())
    expected = json.loads(text.replace('"docs/runbooks/', '"https://example.org/runbooks/'))
    # Its retrainer is there now and then, so that it would always seem absent.
    kept = [
        {**group, "rules": without(group["rules"], "CoppiceRetrainerAbsent")} for group in expected
    ]
    assert by_name(groups(chart.release("everything"))) == by_name(kept)


def test_nobody_is_woken_for_the_absence_of_what_a_release_does_not_have() -> None:
    chosen = {
        "metrics__rules": {"enabled": True, "without": ["CoppiceDrift"]},
        "control__enabled": False,
    }
    told = {
        rule["alert"]
        for group in groups(chart.render(chart.changed("local", **chosen)))
        for rule in group["rules"]
        if "alert" in rule
    }
    everything = {rule["alert"] for rule in promtool.rules("alert")}
    assert everything - told == {
        "CoppiceControllerAbsent",
        "CoppiceDrift",
        "CoppiceMonitorAbsent",
        "CoppiceRetrainerAbsent",
    }


@promtool.needs_promtool
def test_promtool_takes_every_rule_as_it_is_rendered(tmp_path: Path) -> None:
    for found in chart.of_kind(chart.release("everything").objects, "PrometheusRule"):
        path = tmp_path / f"{found['metadata']['name']}.yaml"
        path.write_text(yaml.safe_dump(found["spec"]))
        assert "SUCCESS" in promtool.run("check", "rules", path)


def test_what_scales_asks_for_metrics_that_there_are() -> None:
    trigger = only("keda", "ScaledObject")["spec"]["triggers"][0]
    uses = promql.uses(trigger["metadata"]["query"])
    assert {use.name for use in uses} <= SERIES
    assert trigger["metadata"]["threshold"] == "100"


def flaggers_query() -> str:
    """Return Flagger's query as it fills it in."""
    query = str(only("flagger", "MetricTemplate")["spec"]["query"])
    for name, value in (("namespace", "a"), ("target", "b"), ("interval", "2m")):
        query = query.replace("{{ " + name + " }}", value)
    return query.strip()


def test_flaggers_own_look_at_failures_asks_for_metrics_that_there_are() -> None:
    assert "{{" not in flaggers_query()
    assert {use.name for use in promql.uses(flaggers_query())} == {"coppice_requests_total"}


@promtool.needs_promtool
@pytest.mark.parametrize(
    ("served", "failed", "per_cent"),
    [
        # One in four; none, with no series of failures at all; and no traffic.
        ("0+3x5", {"503": "0+1x5"}, 25.0),
        ("0+3x5", {}, 0.0),
        ("0+0x5", {}, 0.0),
    ],
)
def test_flaggers_own_look_at_failures_counts_the_canary_alone(
    tmp_path: Path, served: str, failed: dict[str, str], per_cent: float
) -> None:
    series = 'coppice_requests_total{namespace="a",pod="%s",door="infer",code="%s"}'
    told = {series % ("b-7f9c-x2x", code): values for code, values in failed.items()}
    others = {series % ("b-primary-7f9c-x2x", "503"): "0+9x5", series % ("c-1-1", "503"): "0+9x5"}
    look = promtool.Look("5m", flaggers_query(), {"{}": per_cent})
    promtool.play(tmp_path, {series % ("b-7f9c-x2x", "200"): served, **told, **others}, [look])


def test_the_verdict_gate_never_takes_silence_for_consent() -> None:
    (metric,) = only("argo-rollout", "AnalysisTemplate", "-verdict")["spec"]["metrics"]
    assert {name: value for name, value in metric.items() if name != "provider"} == {
        "name": "verdict",
        "interval": "1m",
        "count": 1440,
        "consecutiveSuccessLimit": 1,
        "failureLimit": 0,
        "inconclusiveLimit": 1440,
        "consecutiveErrorLimit": 10,
        "successCondition": 'result.verdict == "promote"',
        "failureCondition": 'result.verdict == "rollback"',
    }
    assert metric["provider"]["web"] == {
        "url": "http://shop-coppice-control.models.svc:80/v1/verdict?model=digits",
        "timeoutSeconds": 5,
        "jsonPath": "{$.data}",
    }


def test_the_veto_runs_until_the_rollout_ends() -> None:
    (metric,) = only("argo-rollout", "AnalysisTemplate", "-veto")["spec"]["metrics"]
    assert "count" not in metric
    assert metric["failureLimit"] == 0
    assert metric["failureCondition"] == 'result.verdict == "rollback"'


@pytest.mark.parametrize("mode", ["argo-rollout", "argo-workload-ref", "gitops", "everything"])
def test_a_rollout_waits_for_the_verdict_at_its_first_weight(mode: str) -> None:
    canary = only(mode, "Rollout")["spec"]["strategy"]["canary"]
    verdict = {"templates": [{"templateName": "shop-coppice-verdict"}]}
    assert canary["steps"] == [
        {"setWeight": 10},
        {"analysis": verdict},
        {"setWeight": 50},
        {"pause": {"duration": "10m"}},
    ]
    veto = {"startingStep": 0, "templates": [{"templateName": "shop-coppice-veto"}]}
    assert canary["analysis"] == veto


def test_flagger_asks_every_hook_of_the_controllers() -> None:
    canary = only("flagger", "Canary")["spec"]
    hooks = {hook["type"]: hook["url"] for hook in canary["analysis"]["webhooks"]}
    base = "http://shop-coppice-control.models.svc:80/flagger"
    assert hooks == {
        kind: f"{base}/{kind}"
        for kind in (
            "confirm-rollout",
            "rollout",
            "confirm-traffic-increase",
            "confirm-promotion",
            "rollback",
            "event",
        )
    }
    assert {hook["metadata"]["model"] for hook in canary["analysis"]["webhooks"]} == {"digits"}


def test_flagger_finds_the_pods_of_its_target_by_a_label_that_no_others_have() -> None:
    # Flagger makes services that select by one label alone: the first of `app`, `name` and
    # `app.kubernetes.io/name` in the target's selector.
    target = only("flagger", "Deployment")
    value = target["spec"]["selector"]["matchLabels"]["app"]
    others = [
        pod.labels.get("app")
        for pod in manifests.pods(chart.release("flagger").objects)
        if pod.owner != manifests.title(target)
    ]
    assert value not in others


def test_a_gateways_weights_begin_where_a_rollout_rests() -> None:
    (rule,) = only("gateway", "HTTPRoute")["spec"]["rules"]
    assert [(each["name"], each["weight"]) for each in rule["backendRefs"]] == [
        ("shop-coppice-server", 1000),
        ("shop-coppice-candidate", 0),
    ]
    assert "replicas" not in only("gateway", "Deployment", "-candidate")["spec"]


@pytest.mark.parametrize("mode", MODES)
def test_the_rendered_settings_are_settings(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in only(mode, "ConfigMap", "shop-coppice")["data"].items():
        (tmp_path / name).write_text(text)
    for name, value in variables(mode).items():
        monkeypatch.setenv(name, value)
    tree = settings.load(tmp_path)
    assert tree.project.name == "digits"
    assert tree.events.backend == "kafka"
    assert (tree.serve.host, tree.serve.port) == ("0.0.0.0", 3000)
    assert tree.home == Path("/var/lib/coppice")


def command(words: list[str]) -> tuple[Any, list[str]]:
    """Walk down the groups, and return the command with what is left of the words."""
    found: Any = typer.main.get_command(main.app)
    while words and words[0] in getattr(found, "commands", {}):
        found, words = found.commands[words[0]], words[1:]
    return found, words


@pytest.mark.parametrize("mode", MODES)
def test_every_process_is_a_command_with_its_options(mode: str) -> None:
    started = {
        tuple(box["args"])
        for pod in manifests.pods(chart.release(mode).objects)
        for box in pod.everything
        if "coppice-worker" in box["image"]
    }
    assert started
    for words in started:
        found, rest = command(list(words))
        known = {name for parameter in found.params for name in parameter.opts}
        assert not hasattr(found, "commands"), words
        assert {word for word in rest if word.startswith("-")} <= known, words


def test_one_pod_has_no_budget_for_disruptions() -> None:
    assert chart.of_kind(chart.release("minimal").objects, "PodDisruptionBudget") == []
    names = {
        found["metadata"]["name"]
        for found in chart.of_kind(chart.release("local").objects, "PodDisruptionBudget")
    }
    assert names == {"shop-coppice-server", "shop-coppice-control"}


def test_pods_that_serve_reach_the_name_service_the_brokers_and_the_store_alone() -> None:
    policy = only("everything", "NetworkPolicy", "-server")["spec"]
    ports = [[each["port"] for each in rule["ports"]] for rule in policy["egress"]]
    assert ports == [[53, 53], [9092], [443]]
    assert "to" not in policy["egress"][0]
    assert policy["egress"][1]["to"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kafka"}}}
    ]


@pytest.mark.parametrize("component", ["server", "control"])
def test_the_releases_own_pods_may_always_ask(component: str) -> None:
    policy = only("everything", "NetworkPolicy", f"-{component}")["spec"]
    own = policy["ingress"][0]["from"][0]["podSelector"]
    test = only("everything", "Pod")["metadata"]["labels"]
    assert wiring.fits(own["matchLabels"], test)


def test_pods_that_retrain_take_no_connections() -> None:
    policy = only("everything", "NetworkPolicy", "-retrainer")["spec"]
    assert policy["ingress"] == []
    assert policy["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("local", {"true"}), ("everything", {None}), ("minimal", {None})],
)
def test_pods_ask_to_be_scraped_only_where_nothing_else_finds_them(
    mode: str, expected: set[str | None]
) -> None:
    found = {
        pod.annotations.get("prometheus.io/scrape")
        for pod in manifests.pods(chart.release(mode).objects)
        if pod.owner.startswith(("Deployment", "Rollout", "StatefulSet"))
    }
    assert found == expected


def test_a_scraped_series_has_its_model_and_job() -> None:
    end = only("everything", "ServiceMonitor", "-server")["spec"]["endpoints"][0]
    added = {each["targetLabel"]: each["replacement"] for each in end["relabelings"]}
    assert added == {"job": "coppice-service", "model": "digits"}
    assert end["honorLabels"] is True


def test_the_images_that_the_chart_names_are_those_it_renders() -> None:
    described = yaml.safe_load((chart.FOLDER / "Chart.yaml").read_text())
    named = yaml.safe_load(described["annotations"]["artifacthub.io/images"])
    rendered = {
        box["image"]
        for pod in manifests.pods(chart.release("local").objects)
        for box in pod.everything
    }
    assert rendered == {each["image"] for each in named}


def test_a_reference_along_a_path_is_found() -> None:
    assert list(references.along({"a": {"x": {"b": 1}, "y": {"b": 2}}}, "a.*.b")) == [1, 2]
