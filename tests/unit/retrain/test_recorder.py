from __future__ import annotations

import prometheus_client

from coppice import errors, records
from retrain import history, recorder, trigger


def value(own: recorder.Recorder, name: str, **labels: str) -> float | None:
    return own.registry.get_sample_value(name, {"model": "m", **labels})


def test_looks_steps_and_failures_are_counted_by_kind() -> None:
    own = recorder.Recorder("m")
    held = trigger.Decision(action="held", rule="cooldown", reason="")
    own.decided(held)
    own.decided(held)
    own.stepped(records.Retraining(model="m", status="held", cause="world", reason=""))
    own.failed(errors.EventLogError())
    own.passed_over()
    looks = value(own, "coppice_retrain_decisions_total", action="held", rule="cooldown")
    steps = value(own, "coppice_retrain_steps_total", status="held", cause="world")
    failures = value(own, "coppice_retrain_turn_errors_total", error="EventLogError")
    assert (looks, steps, failures) == (2, 1, 1)
    assert value(own, "coppice_retrain_undecodable_events_total") == 1


def test_the_state_at_the_end_of_a_turn_is_shown() -> None:
    own = recorder.Recorder("m")
    verdict = records.Verdict(model="m", version="m:1", scope="champion", kind="decay", reason="")
    own.saw(history.State(pending=history.Pending("id", verdict)), 57)
    assert value(own, "coppice_retrain_pending") == 1
    assert value(own, "coppice_retrain_labelled_rows") == 57
    own.saw(history.State(), 57)
    assert value(own, "coppice_retrain_pending") == 0


def test_the_share_of_each_phase_is_shown() -> None:
    own = recorder.Recorder("m")
    own.progressed("recover", 0.25)
    assert value(own, "coppice_retrain_phase_ratio", phase="recover") == 0.25


def test_two_recorders_in_one_process_do_not_collide() -> None:
    recorder.Recorder("m")
    recorder.Recorder("m")


def test_metrics_can_go_to_a_registry_of_the_callers() -> None:
    registry = prometheus_client.CollectorRegistry()
    recorder.Recorder("m", registry).passed_over()
    assert b"coppice_retrain_undecodable_events_total" in prometheus_client.generate_latest(
        registry
    )


def test_steps_are_counted_from_nought_so_that_the_first_failure_is_an_increase() -> None:
    own = recorder.Recorder("m")
    assert value(own, "coppice_retrain_steps_total", status="failed", cause="world") == 0
    assert value(own, "coppice_retrain_steps_total", status="failed", cause="manual") == 0
