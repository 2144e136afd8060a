from __future__ import annotations

import re
from pathlib import Path

import pytest

from coppice_cli import metric_reference
from coppice_cli.metric_reference import Metric

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
STALE = "run `python -m coppice_cli.reference docs/reference`"
KNOWN = metric_reference.catalogue()
NAMES = [metric.name for metric in KNOWN]


def test_the_metrics_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == metric_reference.page(), STALE


def test_every_plane_has_metrics_on_the_page() -> None:
    assert {metric.plane for metric in KNOWN} == set(metric_reference.PAGES)


def test_no_two_planes_share_a_name() -> None:
    assert len(NAMES) == len(set(NAMES))


def test_counters_gauges_and_histograms_are_told_apart() -> None:
    kinds = {metric.name: metric.kind for metric in KNOWN}
    assert kinds["coppice_requests_total"] == "counter"
    assert kinds["coppice_canary_shut"] == "gauge"
    assert kinds["coppice_request_seconds"] == "histogram"


def test_labels_are_known_before_there_is_a_series() -> None:
    labels = {metric.name: metric.labels for metric in KNOWN}
    assert labels["coppice_requests_total"] == ("door", "code")
    assert labels["coppice_verdict"] == ("model", "scope", "kind", "cause")
    assert labels["coppice_batch_rows"] == ()


@pytest.mark.parametrize("metric", KNOWN, ids=NAMES)
def test_a_name_has_our_prefix_and_plain_words(metric: Metric) -> None:
    assert re.fullmatch(r"coppice(_[a-z]+)+", metric.name)


@pytest.mark.parametrize("metric", KNOWN, ids=NAMES)
def test_counters_alone_end_in_total(metric: Metric) -> None:
    assert metric.name.endswith("_total") == (metric.kind == "counter")


@pytest.mark.parametrize("metric", KNOWN, ids=NAMES)
def test_units_are_base_units(metric: Metric) -> None:
    scaled = {"milliseconds", "ms", "minutes", "hours", "percent", "kb", "mb", "share", "kib"}
    assert set(metric.name.split("_")) & scaled == set()


@pytest.mark.parametrize("metric", KNOWN, ids=NAMES)
def test_help_is_a_sentence(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert "|" not in metric.help


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("coppice_request_seconds", "histogram", "seconds"),
        ("coppice_accuracy_ratio", "gauge", "ratio, 0 to 1"),
        ("coppice_drift_ratio", "gauge", "ratio, 1 at the threshold"),
        ("coppice_monitor_last_success_timestamp_seconds", "gauge", "seconds since 1970 UTC"),
        ("coppice_evidence_log", "gauge", "natural logarithm"),
        ("coppice_requests_total", "counter", "count"),
        ("coppice_canary_shut", "gauge", "number"),
    ],
)
def test_the_unit_follows_from_the_name(name: str, kind: str, unit: str) -> None:
    assert Metric("plane", name, kind, (), "").unit == unit


def test_a_histogram_is_three_series_and_the_others_one() -> None:
    assert Metric("plane", "a_rows", "histogram", (), "").series == (
        "a_rows_bucket",
        "a_rows_sum",
        "a_rows_count",
    )
    assert Metric("plane", "a_total", "counter", (), "").series == ("a_total",)
