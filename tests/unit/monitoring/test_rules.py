"""Every alert fires when it should and is silent when it should be, run by promtool itself."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.support import house, promtool
from tests.support.promtool import Look, fired, firing

ALERTS = promtool.rules("alert")
NAMES = sorted({rule["alert"] for rule in ALERTS})


class Case(NamedTuple):
    """Series under which an alert fires at a time, and others under which it does not."""

    alert: str
    severity: str
    loud: dict[str, str]
    quiet: dict[str, str]
    at: str
    labels: tuple[dict[str, str], ...] = ({},)
    interval: str = "1m"


REQUESTS = 'coppice_requests_total{model="m",door="infer",code="%s"}'
SHADOWS = 'coppice_shadows_total{model="m",role="candidate",outcome="%s"}'
VERDICT = 'coppice_verdict{model="m",scope="%s",kind="%s"}'
VERDICTS = 'coppice_monitor_verdicts_total{model="m",scope="%s",kind="%s",cause="%s"}'
DECAY = 'coppice_verdict{model="m",scope="champion",kind="decay",cause="world"}'
WANTED = 'coppice_labels_wanted{model="m",reason="disagreement"}'
SUCCESS = 'coppice_monitor_last_success_timestamp_seconds{model="m"}'
STEPS = 'coppice_retrain_steps_total{model="m",status="%s",cause="world"}'
STAGE = 'coppice_rollout_stage{model="m",stage="canary"}'
UNDECIDED = VERDICT % ("candidate", "undecided")

CASES = (
    # One in five fails, for an hour: more than 14.4 x 0.5% and more than 6 x 0.5%.
    # One in a hundred is more than the objective, but nothing to be woken for.
    Case(
        "CoppiceErrorBudgetBurnsFast",
        "page",
        {REQUESTS % 200: "0+80x70", REQUESTS % 503: "0+20x70"},
        {REQUESTS % 200: "0+99x70", REQUESTS % 503: "0+1x70"},
        "65m",
        ({"window": "1h"}, {"window": "6h"}),
    ),
    # Two in a hundred for a day, more than 3 x 0.5%; three in a thousand are within the objective.
    Case(
        "CoppiceErrorBudgetBurnsSlowly",
        "ticket",
        {REQUESTS % 200: "0+98x300", REQUESTS % 500: "0+2x300"},
        {REQUESTS % 200: "0+997x300", REQUESTS % 500: "0+3x300"},
        "24h",
        ({"window": "1d"}, {"window": "3d"}),
        "5m",
    ),
    Case(
        "CoppiceServerAbsent",
        "page",
        {'coppice_routing_generation{model="m"}': "1x10 _x30"},
        {'coppice_routing_generation{model="m"}': "1x40"},
        "25m",
    ),
    # What was counted before is no news.
    Case(
        "CoppiceOutboxFailing",
        "page",
        {'coppice_outbox_failures_total{model="m"}': "0x10 5x10"},
        {'coppice_outbox_failures_total{model="m"}': "5x20"},
        "15m",
    ),
    # A peak that goes down within five minutes is no backlog.
    Case(
        "CoppiceOutboxBacklog",
        "page",
        {'coppice_outbox_backlog{model="m"}': "300x20"},
        {'coppice_outbox_backlog{model="m"}': "300x3 0x3 300x3 0x3 300x3"},
        "15m",
    ),
    Case(
        "CoppiceInputsDropped",
        "page",
        {'coppice_inputs_dropped_total{model="m"}': "0x10 5x10"},
        {'coppice_inputs_dropped_total{model="m"}': "5x20"},
        "15m",
    ),
    Case(
        "CoppicePredictionsUnstored",
        "page",
        {'coppice_predictions_unstored_total{model="m"}': "0x10 5x10"},
        {'coppice_predictions_unstored_total{model="m"}': "5x20"},
        "15m",
    ),
    Case(
        "CoppiceCrashGuardTripped",
        "ticket",
        {'coppice_canary_shut{model="m"}': "1x5"},
        {'coppice_canary_shut{model="m"}': "0x5"},
        "3m",
    ),
    Case(
        "CoppiceShadowDropsHigh",
        "ticket",
        {SHADOWS % "dropped": "0+50x60", SHADOWS % "answered": "0+50x60"},
        {SHADOWS % "dropped": "0+1x60", SHADOWS % "answered": "0+99x60"},
        "40m",
    ),
    Case(
        "CoppiceVersionNotLoading",
        "ticket",
        {'coppice_load_failures_total{model="m"}': "0x5 1x20"},
        {'coppice_load_failures_total{model="m"}': "1x25"},
        "10m",
    ),
    Case(
        "CoppiceServerTurnsFail",
        "ticket",
        {'coppice_turn_failures_total{model="m",loop="shadow"}': "0+1x30"},
        {'coppice_turn_failures_total{model="m",loop="shadow"}': "0x5 1x25"},
        "20m",
        ({"loop": "shadow"},),
    ),
    # More than five minutes old for ten; a burst that is worked off within them is no backlog.
    Case(
        "CoppiceRelayBehind",
        "page",
        {'coppice_relay_backlog_seconds{model="m",log="outbox"}': "400x20"},
        {'coppice_relay_backlog_seconds{model="m",log="outbox"}': "400x5 0x3 400x5"},
        "13m",
    ),
    # Four deadlines in half an hour; one was missed while a broker was replaced.
    Case(
        "CoppiceRelayFails",
        "ticket",
        {'coppice_relay_failures_total{model="m"}': "0x5 5x20"},
        {'coppice_relay_failures_total{model="m"}': "0x5 1x20"},
        "15m",
    ),
    Case(
        "CoppiceRelayRefused",
        "ticket",
        {
            'coppice_relay_refused_total{model="m"}': "0x20",
            'coppice_relay_inputs_dropped_total{model="m"}': "0x5 2x15",
        },
        {
            'coppice_relay_refused_total{model="m"}': "3x20",
            'coppice_relay_inputs_dropped_total{model="m"}': "2x20",
        },
        "15m",
    ),
    Case(
        "CoppiceRelayAbsent",
        "ticket",
        {'coppice_relay_waiting{model="m"}': "0x10 _x30"},
        {'coppice_relay_waiting{model="m"}': "0x40"},
        "25m",
    ),
    # Minutes are seconds since 1970 here, so a timestamp of 0 was heard at the begin.
    Case(
        "CoppiceFollowerBehind",
        "page",
        {
            'coppice_follow_lag{model="m",topic="a"}': "15000x20",
            'coppice_follow_lag{model="m",topic="b"}': "5001x20",
        },
        {
            'coppice_follow_lag{model="m",topic="a"}': "20000x20",
            'coppice_follow_heard_timestamp_seconds{model="m"}': "0+60x20",
        },
        "13m",
    ),
    Case(
        "CoppiceFollowerFails",
        "ticket",
        {'coppice_follow_turn_errors_total{model="m",error="LogFull"}': "0x5 5x20"},
        {'coppice_follow_turn_errors_total{model="m",error="LogFull"}': "0x5 1x20"},
        "15m",
    ),
    Case(
        "CoppiceDeadLetters",
        "ticket",
        {'coppice_follow_dead_letters_total{model="m",topic="a"}': "0x5 1x20"},
        {'coppice_follow_dead_letters_total{model="m",topic="a"}': "7x25"},
        "15m",
    ),
    Case(
        "CoppiceFollowerAbsent",
        "ticket",
        {'coppice_follow_waiting{model="m"}': "0x10 _x30"},
        {'coppice_follow_waiting{model="m"}': "0x40"},
        "25m",
    ),
    Case(
        "CoppiceDecay",
        "page",
        {DECAY: "1x5"},
        {VERDICT % ("champion", "drift"): "1x5"},
        "3m",
        ({"cause": "world"},),
    ),
    Case(
        "CoppiceDrift",
        "ticket",
        {VERDICT % ("champion", "drift"): "1x10"},
        {VERDICT % ("champion", "healthy"): "1x10", DECAY: "1x10"},
        "3m",
    ),
    Case(
        "CoppiceEvidenceForRollback",
        "page",
        {VERDICT % ("candidate", "rollback"): "1x5"},
        {VERDICT % ("candidate", "promote"): "1x5"},
        "3m",
    ),
    # A queue that shrinks by one a minute is being worked on.
    Case(
        "CoppiceLabelStarvation",
        "ticket",
        {WANTED: "20x70", UNDECIDED: "1x70"},
        {WANTED: "80-1x70", UNDECIDED: "1x70"},
        "45m",
    ),
    # Without requests there is nothing to know.
    Case(
        "CoppiceHealthUnknown",
        "ticket",
        {VERDICT % ("champion", "undecided"): "1x100", REQUESTS % 200: "0+10x100"},
        {VERDICT % ("champion", "undecided"): "1x100", REQUESTS % 200: "10x100"},
        "7h",
        interval="5m",
    ),
    # Time begins at nought here: the first monitor stood still, the second turns every minute.
    Case("CoppiceMonitorStale", "page", {SUCCESS: "0x20"}, {SUCCESS: "0+60x20"}, "10m"),
    Case("CoppiceMonitorAbsent", "page", {SUCCESS: "0+60x10 _x30"}, {SUCCESS: "0+60x40"}, "25m"),
    # Once at the end of the log within fifteen minutes is enough.
    Case(
        "CoppiceMonitorBehind",
        "ticket",
        {'coppice_monitor_caught_up{model="m"}': "0x30"},
        {'coppice_monitor_caught_up{model="m"}': "0x10 1 0x20"},
        "22m",
    ),
    # In a takeover it is behind for less than a minute or two.
    Case(
        "CoppiceMonitorsBehind",
        "ticket",
        {'coppice_monitor_watermark_lag_seconds{model="m"}': "90x30"},
        {'coppice_monitor_watermark_lag_seconds{model="m"}': "3x5 90x5 3x5 90x5 3x10"},
        "22m",
    ),
    Case(
        "CoppiceMonitorTurnsFail",
        "ticket",
        {'coppice_monitor_turn_errors_total{model="m",error="KeyError"}': "0+1x30"},
        {'coppice_monitor_turn_errors_total{model="m",error="KeyError"}': "0x5 1x25"},
        "20m",
    ),
    Case(
        "CoppiceEventsUndecodable",
        "ticket",
        {'coppice_retrain_undecodable_events_total{model="m"}': "0x5 1x20"},
        {'coppice_monitor_events_total{model="m",kind="coppice.verdict.v1"}': "0+1x25"},
        "10m",
    ),
    Case(
        "CoppiceRetrainingFailed",
        "ticket",
        {STEPS % "failed": "0x5 1x30"},
        {STEPS % "finished": "0x5 1x30"},
        "10m",
        ({"cause": "world"},),
    ),
    Case(
        "CoppiceRetrainingHeld",
        "ticket",
        {'coppice_retrain_pending{model="m"}': "1x130"},
        {'coppice_retrain_pending{model="m"}': "1x60 0 1x70"},
        "125m",
    ),
    Case(
        "CoppiceRetrainerTurnsFail",
        "ticket",
        {'coppice_retrain_turn_errors_total{model="m",error="OSError"}': "0+1x30"},
        {'coppice_retrain_turn_errors_total{model="m",error="OSError"}': "0x5 1x25"},
        "20m",
    ),
    Case(
        "CoppiceRetrainerAbsent",
        "ticket",
        {'coppice_retrain_pending{model="m"}': "0x10 _x40"},
        {'coppice_retrain_pending{model="m"}': "0x50"},
        "45m",
    ),
    # A step each six hours is a rollout that moves.
    Case(
        "CoppiceRolloutStuck",
        "ticket",
        {STAGE: "1x200"},
        {STAGE: "1x72 0x1 1x100"},
        "13h",
        ({"stage": "canary"},),
        "5m",
    ),
    Case(
        "CoppiceRolloutPaused",
        "ticket",
        {'coppice_rollout_paused{model="m"}': "1x150"},
        {'coppice_rollout_paused{model="m"}': "1x60 0 1x90"},
        "130m",
    ),
    Case(
        "CoppiceRolloutTurnsFail",
        "page",
        {'coppice_rollout_turn_errors_total{model="m",error="OSError"}': "0+1x30"},
        {'coppice_rollout_turn_errors_total{model="m",error="OSError"}': "0x5 1x25"},
        "20m",
    ),
    Case(
        "CoppiceRoutingEdited",
        "ticket",
        {'coppice_rollout_external_edits_total{model="m"}': "0x5 1x20"},
        {'coppice_rollout_external_edits_total{model="m"}': "1x25"},
        "10m",
    ),
    Case(
        "CoppiceControllerAbsent",
        "page",
        {'coppice_rollout_generation{model="m"}': "1x10 _x30"},
        {'coppice_rollout_generation{model="m"}': "1x40"},
        "25m",
    ),
)
BY_NAME = [case.alert for case in CASES]


def test_every_alert_has_a_case() -> None:
    assert sorted(BY_NAME) == NAMES


@promtool.needs_promtool
@pytest.mark.parametrize("case", CASES, ids=BY_NAME)
def test_an_alert_fires_when_it_should(case: Case, tmp_path) -> None:
    where = {"model": "m", "severity": case.severity}
    finds = {fired(case.alert, **where, **labels): 1.0 for labels in case.labels}
    look = Look(case.at, firing(case.alert), finds)
    files = promtool.files_for(case.alert)
    promtool.play(tmp_path, case.loud, [look], interval=case.interval, files=files)


@promtool.needs_promtool
@pytest.mark.parametrize("case", CASES, ids=BY_NAME)
def test_an_alert_is_silent_when_it_should_be(case: Case, tmp_path) -> None:
    look = Look(case.at, firing(case.alert), {})
    files = promtool.files_for(case.alert)
    promtool.play(tmp_path, case.quiet, [look], interval=case.interval, files=files)


@promtool.needs_promtool
def test_without_any_data_the_absences_fire_and_nothing_else(tmp_path) -> None:
    finds = {
        fired("CoppiceServerAbsent", severity="page"): 1.0,
        fired("CoppiceMonitorAbsent", severity="page"): 1.0,
        fired("CoppiceControllerAbsent", severity="page"): 1.0,
        fired("CoppiceRetrainerAbsent", severity="ticket"): 1.0,
    }
    promtool.play(tmp_path, {}, [Look("30m", 'ALERTS{alertstate="firing"}', finds)])


@promtool.needs_promtool
def test_one_model_that_vanishes_is_missed_while_another_stays(tmp_path) -> None:
    series = {
        'coppice_routing_generation{model="gone"}': "1x10 _x30",
        'coppice_routing_generation{model="there"}': "1x40",
    }
    finds = {fired("CoppiceServerAbsent", model="gone", severity="page"): 1.0}
    promtool.play(tmp_path, series, [Look("25m", firing("CoppiceServerAbsent"), finds)])


@promtool.needs_promtool
def test_a_verdict_that_was_answered_at_once_is_seen_by_its_counter(tmp_path) -> None:
    series = {
        VERDICTS % ("champion", "decay", "release"): "0x5 1x40",
        VERDICTS % ("candidate", "rollback", ""): "0x5 1x40",
    }
    decay, rollback = firing("CoppiceDecay"), firing("CoppiceEvidenceForRollback")
    seen = {fired("CoppiceDecay", model="m", severity="page", cause="release"): 1.0}
    back = {fired("CoppiceEvidenceForRollback", model="m", severity="page"): 1.0}
    looks = [
        Look("4m", decay, {}),
        Look("8m", decay, seen),
        Look("8m", rollback, back),
        # Ten minutes of the counter, and five in which a decay goes on firing.
        Look("30m", decay, {}),
        Look("30m", rollback, {}),
    ]
    promtool.play(tmp_path, series, looks)


@promtool.needs_promtool
@pytest.mark.parametrize(
    "counter",
    [
        'coppice_monitor_events_total{model="m",kind="undecodable"}',
        'coppice_rollout_undecodable_events_total{model="m"}',
    ],
)
def test_each_reader_of_the_log_tells_what_it_cannot_read(tmp_path, counter: str) -> None:
    finds = {fired("CoppiceEventsUndecodable", model="m", severity="ticket"): 1.0}
    look = Look("10m", firing("CoppiceEventsUndecodable"), finds)
    promtool.play(tmp_path, {counter: "0x5 1x20"}, [look])


@promtool.needs_promtool
def test_an_alert_says_whom_it_is_about_and_how_much_of_it_there_is(tmp_path) -> None:
    told = promtool.Told(
        "15m",
        "CoppicePredictionsUnstored",
        {"model": "m", "severity": "page"},
        {
            "summary": "m: answers leave no event",
            # From nought to five at the eleventh minute; the window of ten minutes holds all of it.
            "description": "5 predictions of the last 10 minutes were answered though the log is "
            "full. Clients are served, but the answers are missing from every figure, and labels "
            "are refused.",
            "runbook_url": "docs/runbooks/predictions-unstored.md",
        },
    )
    series = {'coppice_predictions_unstored_total{model="m"}': "0x10 5x10"}
    promtool.hear(tmp_path, series, told)


@promtool.needs_promtool
def test_an_error_that_is_over_wakes_nobody(tmp_path) -> None:
    # Everything fails for half an hour; an hour later the hour still shows it, five minutes do not.
    series = {REQUESTS % 200: "0x30 0+80x60", REQUESTS % 503: "0+20x30 600x60"}
    promtool.play(tmp_path, series, [Look("85m", firing("CoppiceErrorBudgetBurnsFast"), {})])


@promtool.needs_promtool
def test_a_handful_of_requests_wakes_nobody(tmp_path) -> None:
    # Four failures of five requests.
    series = {REQUESTS % 200: "0x5 1x60", REQUESTS % 503: "0x5 4x60"}
    promtool.play(tmp_path, series, [Look("9m", firing("CoppiceErrorBudgetBurnsFast"), {})])


@promtool.needs_promtool
def test_what_clients_did_wrong_is_no_failure_of_the_server(tmp_path) -> None:
    series = {REQUESTS % 200: "0+50x70", REQUESTS % 422: "0+50x70"}
    promtool.play(tmp_path, series, [Look("65m", firing("CoppiceErrorBudgetBurnsFast"), {})])


@promtool.needs_promtool
def test_probes_before_the_server_is_ready_are_no_failed_requests(tmp_path) -> None:
    probes = 'coppice_requests_total{model="m",door="other",code="503"}'
    promtool.play(
        tmp_path,
        {REQUESTS % 200: "0+1x70", probes: "0+50x70"},
        [Look("65m", firing("CoppiceErrorBudgetBurnsFast"), {})],
    )


@promtool.needs_promtool
def test_recorded_figures_are_what_they_say(tmp_path) -> None:
    series = {
        # 8 and 2 a minute, over two workers' pages: 10 in 60 seconds, one in five failed.
        REQUESTS % 200: "0+8x70",
        REQUESTS % 503: "0+2x70",
        SHADOWS % "dropped": "0+1x70",
        SHADOWS % "answered": "0+3x70",
        # Every request takes less than 10 ms and more than 5: the 99th centile lies between.
        'coppice_request_seconds_bucket{model="m",lane="stable",version="v",le="0.005"}': "0x70",
        'coppice_request_seconds_bucket{model="m",lane="stable",version="v",le="0.01"}': "0+9x70",
        'coppice_request_seconds_bucket{model="m",lane="stable",version="v",le="+Inf"}': "0+9x70",
    }
    finds = {
        "model:coppice_requests:rate5m": 0.1667,
        "model:coppice_request_errors:ratio_rate5m": 0.2,
        "model:coppice_request_errors:ratio_rate6h": 0.2,
        "model:coppice_shadow_drops:ratio_rate15m": 0.25,
        # 99% of the way from 0.005 to 0.01.
        "model:coppice_request_seconds:p99_rate5m": 0.01,
    }
    looks = [
        Look("60m", f"round({name}, 0.0001)", {'{model="m"}': value})
        for name, value in finds.items()
    ]
    promtool.play(tmp_path, series, looks)


@promtool.needs_promtool
def test_no_failure_yet_is_recorded_as_nought(tmp_path) -> None:
    look = Look("10m", "model:coppice_request_errors:ratio_rate5m * 1", {'{model="m"}': 0.0})
    promtool.play(tmp_path, {REQUESTS % 200: "0+8x20"}, [look])


@promtool.needs_promtool
@pytest.mark.parametrize("path", promtool.FILES, ids=lambda path: path.name)
def test_promtool_finds_nothing_wrong(path) -> None:
    assert "SUCCESS" in promtool.run("check", "rules", path)


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_says_what_it_means_and_where_to_read_on(rule) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page = (house.ROOT / rule["annotations"]["runbook_url"]).read_text(encoding="utf-8")
    assert page.startswith(f"# {rule['alert']}\n")


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_a_runbook_says_what_it_means_how_to_look_and_what_to_do(rule) -> None:
    page = (house.ROOT / rule["annotations"]["runbook_url"]).read_text(encoding="utf-8")
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["## What it means", "## How to look", "## What to do"]
    assert f"severity: {rule['labels']['severity']}" in page


def test_no_runbook_is_left_without_its_alert() -> None:
    pages = {path.name for path in (house.ROOT / "docs" / "runbooks").glob("*.md")}
    named = {rule["annotations"]["runbook_url"].rpartition("/")[2] for rule in ALERTS}
    assert pages - {"README.md"} == named


def test_the_page_on_monitoring_names_every_alert() -> None:
    page = (house.ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if name.removeprefix("Coppice") not in page] == []


def test_the_index_of_runbooks_names_every_alert_with_its_severity() -> None:
    index = (house.ROOT / "docs" / "runbooks" / "README.md").read_text(encoding="utf-8")
    rows = {
        f"| [{rule['alert']}]({rule['annotations']['runbook_url'].rpartition('/')[2]}) "
        f"| {rule['labels']['severity']} |"
        for rule in ALERTS
    }
    assert {row for row in rows if row not in index} == set()
