from __future__ import annotations

import msgspec
import pytest
from prometheus_client import parser

from coppice import records
from monitoring import columns, drift, estimate, quality, ranges, recorder, state, status


@pytest.fixture
def metrics():
    return recorder.Recorder("tiny")


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, {"model": "tiny", **labels})


def verdict(scope, kind, cause=None):
    return records.Verdict(
        model="tiny", version="tiny:a", scope=scope, kind=kind, reason="", cause=cause
    )


SCORE = status.Score(mean=0.9, low=0.8, high=0.95, count=50)
VERSION = status.VersionStatus(
    version="tiny:a",
    role="champion",
    accuracy={"all": SCORE, "pen=ink": SCORE},
    answered=100,
    labelled=50,
    label_coverage=0.5,
    parent_agreement=0.97,
    parent_agreement_rows=30,
)
SEEN = status.Status(
    model="tiny",
    at=0.0,
    champion="tiny:a",
    candidate=None,
    previous=None,
    versions=(VERSION,),
    champion_verdict=verdict("champion", "healthy"),
    candidate_verdict=None,
    evidence={"decay": -2.0},
    drift_windows=1,
    drift=drift.DriftLook(50, {}, {"f": 0.4}, {}, alarmed=False, reason="fine"),
    wanted={"disagreement": 3},
    queue=(),
    events={},
    oddities={},
)


def test_the_state_after_a_turn_is_shown(metrics):
    metrics.show(SEEN)
    where = {"version": "tiny:a", "slice": "pen=ink"}
    assert value(metrics, "coppice_accuracy_ratio", **where) == 0.9
    assert value(metrics, "coppice_accuracy_lower_bound_ratio", **where) == 0.8
    assert value(metrics, "coppice_label_coverage_ratio", version="tiny:a") == 0.5
    assert value(metrics, "coppice_parent_agreement_ratio", version="tiny:a") == 0.97
    healthy = {"scope": "champion", "kind": "healthy", "cause": ""}
    assert value(metrics, "coppice_verdict", **healthy) == 1.0
    assert value(metrics, "coppice_evidence_log", direction="decay") == -2.0
    assert value(metrics, "coppice_drift_ratio", feature="f") == 0.4
    assert value(metrics, "coppice_labels_wanted", reason="disagreement") == 3.0


def test_what_plays_no_part_any_more_is_removed(metrics):
    metrics.show(SEEN)
    metrics.show(
        msgspec.structs.replace(
            SEEN, versions=(), champion_verdict=verdict("champion", "decay", "pruning"), drift=None
        )
    )
    where = {"version": "tiny:a", "slice": "all"}
    assert value(metrics, "coppice_accuracy_ratio", **where) is None
    healthy = {"scope": "champion", "kind": "healthy", "cause": ""}
    decay = {"scope": "champion", "kind": "decay", "cause": "pruning"}
    assert value(metrics, "coppice_verdict", **healthy) is None
    assert value(metrics, "coppice_verdict", **decay) == 1.0
    assert value(metrics, "coppice_drift_ratio", feature="f") is None


def test_counters_go_on_where_the_state_left_off(metrics):
    metrics.took({"coppice.prediction.v1": 100}, {"repeated_label": 2}, seconds=0.1)
    metrics.took({"coppice.prediction.v1": 130}, {"repeated_label": 2}, seconds=0.1)
    kind = {"kind": "coppice.prediction.v1"}
    assert value(metrics, "coppice_monitor_events_total", **kind) == 130.0
    assert value(metrics, "coppice_monitor_join_oddities_total", kind="repeated_label") == 2.0
    assert value(metrics, "coppice_monitor_turn_seconds_count") == 2.0


def test_undecodable_events_are_shown_from_the_first_turn_with_what_was_counted_before(metrics):
    assert value(metrics, "coppice_monitor_events_total", kind="undecodable") is None
    metrics.took({"undecodable": 3}, {}, seconds=0.1)
    assert value(metrics, "coppice_monitor_events_total", kind="undecodable") == 3.0


def test_no_undecodable_event_is_nought_so_that_the_first_is_an_increase(metrics):
    metrics.took({"coppice.prediction.v1": 1}, {}, seconds=0.1)
    assert value(metrics, "coppice_monitor_events_total", kind="undecodable") == 0.0


def test_turns_are_counted_when_they_fail_and_dated_when_they_succeed(metrics):
    metrics.failed(KeyError("bug"))
    metrics.succeeded(123.0, caught_up=False)
    assert value(metrics, "coppice_monitor_turn_errors_total", error="KeyError") == 1.0
    assert value(metrics, "coppice_monitor_last_success_timestamp_seconds") == 123.0
    assert value(metrics, "coppice_monitor_caught_up") == 0.0


def test_verdicts_that_were_written_are_counted(metrics):
    metrics.announced(verdict("candidate", "promote"))
    where = {"scope": "candidate", "kind": "promote", "cause": ""}
    assert value(metrics, "coppice_monitor_verdicts_total", **where) == 1.0


def test_verdicts_are_counted_by_the_cause_of_a_decay(metrics):
    metrics.announced(verdict("champion", "decay", "world"))
    where = {"scope": "champion", "kind": "decay"}
    assert value(metrics, "coppice_monitor_verdicts_total", **where, cause="world") == 1.0
    assert value(metrics, "coppice_monitor_verdicts_total", **where, cause="pruning") == 0.0


def test_every_verdict_is_counted_from_nought_so_that_the_first_is_an_increase(metrics):
    # Three of a candidate, three of a champion, and decay by each of four causes.
    series = [
        line
        for line in metrics.page().decode().splitlines()
        if line.startswith("coppice_monitor_verdicts_total{")
    ]
    assert len(series) == 10
    assert all(line.endswith(" 0.0") for line in series)


def test_the_page_is_prometheus_text_with_help_and_our_prefix_everywhere(metrics):
    metrics.show(SEEN)
    families = list(parser.text_string_to_metric_families(metrics.page().decode()))
    assert all(family.name.startswith("coppice_") for family in families)
    assert all(family.documentation.endswith(".") for family in families)


def test_two_recorders_in_one_process_do_not_collide(metrics):
    other = recorder.Recorder("other")
    other.failed(KeyError("bug"))
    assert value(metrics, "coppice_monitor_turn_errors_total", error="KeyError") is None


def test_drift_of_an_empty_reign_shows_no_feature(metrics):
    metrics.show(msgspec.structs.replace(SEEN, drift=None))
    assert value(metrics, "coppice_drift_ratio", feature="f") is None
    assert state.DriftSeen().ratio == 0.0


LOOK = drift.DriftLook(
    50, {}, {"score.a": 0.3, "input.x": 2.0}, {}, alarmed=True, reason="input.x drifts"
)
WATCHED = msgspec.structs.replace(
    SEEN,
    versions=(
        msgspec.structs.replace(
            VERSION,
            measures={"all": quality.Quality(50, {"f1_macro": quality.Figure(0.7, 0.6, 0.8)})},
            label_delay=quality.Delay(p50=5.0, p90=60.0),
        ),
    ),
    drift=LOOK,
    drift_kinds=columns.by_kind(LOOK),
    label_drift=drift.DriftLook(200, {}, {"label.1": 1.5}, {}, alarmed=True, reason="moved"),
    slice_drift={"pen=ink": drift.DriftLook(50, {}, {"score.a": 0.4}, {}, False, "fine")},
    violations=ranges.Violations(50, outside={"input.x": 3}, new={"input.k": 2}),
    new_slices={"pen=chalk": 9},
    estimate=estimate.Estimate(mean=0.8, low=0.7, high=0.9, expected=0.95, rows=50),
)


def test_drift_is_shown_by_kind_and_slice(metrics):
    metrics.show(WATCHED)
    assert value(metrics, "coppice_drift_kind_ratio", kind="inputs") == 2.0
    assert value(metrics, "coppice_drift_kind_ratio", kind="answers") == 0.3
    assert value(metrics, "coppice_drift_kind_ratio", kind="labels") == 1.5
    assert value(metrics, "coppice_drift_slice_ratio", slice="pen=ink") == 0.4


def test_values_that_the_reference_never_had_are_shown(metrics):
    metrics.show(WATCHED)
    assert value(metrics, "coppice_drift_unseen_rows", feature="input.x", kind="outside") == 3.0
    assert value(metrics, "coppice_drift_unseen_rows", feature="input.k", kind="new") == 2.0
    assert value(metrics, "coppice_drift_new_slices") == 1.0


def test_an_estimate_says_whether_it_is_trusted(metrics):
    metrics.show(WATCHED)
    where = {"version": "tiny:a"}
    assert value(metrics, "coppice_accuracy_estimate_ratio", trusted="no", **where) == 0.8
    trusted = msgspec.structs.replace(WATCHED.estimate, trusted=True)
    metrics.show(msgspec.structs.replace(WATCHED, estimate=trusted))
    assert value(metrics, "coppice_accuracy_estimate_ratio", trusted="yes", **where) == 0.8
    assert value(metrics, "coppice_accuracy_estimate_ratio", trusted="no", **where) is None


def test_measures_and_label_delays_are_shown(metrics):
    metrics.show(WATCHED)
    where = {"version": "tiny:a", "slice": "all", "measure": "f1_macro"}
    assert value(metrics, "coppice_quality", **where) == 0.7
    assert value(metrics, "coppice_label_delay_seconds", version="tiny:a", quantile="0.9") == 60.0


def test_what_the_windows_no_longer_show_is_removed(metrics):
    metrics.show(WATCHED)
    metrics.show(SEEN)
    assert value(metrics, "coppice_drift_kind_ratio", kind="labels") is None
    assert value(metrics, "coppice_drift_unseen_rows", feature="input.x", kind="outside") is None
    assert value(metrics, "coppice_drift_new_slices") == 0.0


def test_a_members_part_of_a_group_is_shown(metrics):
    metrics.shared(3, 10)
    metrics.shared(2, 15)
    assert value(metrics, "coppice_monitor_partitions") == 2.0
    assert value(metrics, "coppice_monitor_facts_total", what="sent") == 15.0


def test_what_came_to_the_member_that_judges_is_shown(metrics):
    metrics.gathered(7, 1, 2, 3.5)
    assert value(metrics, "coppice_monitor_facts_total", what="folded") == 7.0
    assert value(metrics, "coppice_monitor_facts_total", what="late") == 1.0
    assert value(metrics, "coppice_monitor_facts_total", what="repeated") == 2.0
    assert value(metrics, "coppice_monitor_watermark_lag_seconds") == 3.5


def test_what_was_handed_to_another_member_is_not_taken_off_a_counter(metrics):
    metrics.gathered(7, 0, 0, 0.0)
    metrics.gathered(2, 0, 0, 0.0)
    metrics.gathered(4, 0, 0, 0.0)
    # A judge begins at nought each time: 7, then 2 of a new one, of which only what grows counts.
    assert value(metrics, "coppice_monitor_facts_total", what="folded") == 9.0
