"""Rules, dashboards and runbooks use metrics that a Recorder makes, with labels that they have."""

from __future__ import annotations

import json

import pytest

from coppice_cli import metric_reference
from tests.support import house, promql, promtool

EXPORTED = {
    series: {*metric.labels, "model"} | ({"le"} if series.endswith("_bucket") else set())
    for metric in metric_reference.catalogue()
    for series in metric.series
}
"""Labels by series; `model` is added by the scrape where the Recorder does not."""

RECORDED = {rule["record"]: set(promql.grouping(rule["expr"])) for rule in promtool.rules("record")}
KNOWN = {
    **EXPORTED,
    **RECORDED,
    "up": {"job", "instance", "model"},
    "ALERTS": {"alertname", "alertstate", "model"},
}

RULES = [
    (rule.get("alert") or rule["record"], rule["expr"])
    for group in promtool.groups()
    for rule in group["rules"]
]
RUNBOOKS = [
    (path.name, expression)
    for path in sorted((house.ROOT / "docs" / "runbooks").glob("*.md"))
    for expression in promql.blocks(path.read_text(encoding="utf-8"))
]
PANELS = [
    (f"{path.stem}: {panel['title']}", target["expr"])
    for path in sorted((house.ROOT / "monitoring" / "dashboards").glob("*.json"))
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
    for target in panel.get("targets", [])
]
EXPRESSIONS = [*RULES, *RUNBOOKS, *PANELS]


@pytest.mark.parametrize(
    ("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS]
)
def test_an_expression_uses_metrics_and_labels_that_there_are(where: str, expression: str) -> None:
    del where
    unknown = [
        f"{use.name}{sorted(use.labels - KNOWN.get(use.name, set()))}"
        for use in promql.uses(expression)
        if use.name not in KNOWN or use.labels - KNOWN[use.name]
    ]
    assert unknown == []


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('rate(coppice_requests{code="200"}[5m])', {"coppice_requests"}),
        ('sum by (lane) (rate(coppice_requests_total{door="infer"}[5m]))', {"lane"}),
        ('coppice_verdict{role="champion"} == 1', {"role"}),
        ("model:coppice_requests:rate5m{door='infer'}", {"door"}),
        ("topk(3, coppice_drift_ratio) and on (slice) coppice_labels_wanted", {"slice"}),
        ("histogram_quantile(0.9, sum by (le) (coppice_request_seconds_bucket))", set()),
        ("coppice_verdict or absent_over_time(coppice_drift_ratio[5m])", set()),
    ],
)
def test_a_wrong_metric_or_label_would_be_found(expression: str, found: set[str]) -> None:
    uses = promql.uses(expression)
    labels = {label for use in uses for label in use.labels - KNOWN.get(use.name, use.labels)}
    assert labels | {use.name for use in uses} - set(KNOWN) == found


def test_every_metric_of_trouble_is_watched_by_an_alert() -> None:
    watched = {use.name for _, expression in RULES for use in promql.uses(expression)}
    trouble = {name for name in EXPORTED if name.endswith(("failures_total", "errors_total"))}
    assert trouble - watched == set()


def test_every_metric_is_watched_or_shown_somewhere() -> None:
    used = {use.name for _, expression in EXPRESSIONS for use in promql.uses(expression)}
    families = {metric.name: set(metric.series) for metric in metric_reference.catalogue()}
    assert {name for name, series in families.items() if not series & used} == set()


def test_rules_runbooks_and_dashboards_are_all_looked_at() -> None:
    assert min(len(RULES), len(RUNBOOKS), len(PANELS)) >= 15
