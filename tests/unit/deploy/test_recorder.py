from __future__ import annotations

import prometheus_client
import pytest

from deploy.recorder import STAGES, Recorder
from tests.support import rollouts
from tests.support.rollouts import MODEL


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(MODEL)


def value(recorder: Recorder, name: str, **labels: str) -> float | None:
    return recorder.registry.get_sample_value(name, {"model": MODEL, **labels})


def test_exactly_the_running_stage_is_one(recorder: Recorder) -> None:
    recorder.saw(rollouts.canary(), rollouts.table(3), waiting=False)
    shown = {stage: value(recorder, "coppice_rollout_stage", stage=stage) for stage in STAGES}
    assert shown == {"idle": 0.0, "shadow": 0.0, "canary": 1.0, "watch": 0.0}


def test_weight_and_generation_are_those_of_the_world(recorder: Recorder) -> None:
    world = rollouts.table(3, candidate=rollouts.B, weight=0.25)
    recorder.saw(rollouts.canary(weight=0.1), world, waiting=True)
    assert value(recorder, "coppice_rollout_weight_ratio") == 0.25
    assert value(recorder, "coppice_rollout_generation") == 3.0
    assert value(recorder, "coppice_rollout_waiting_candidates") == 1.0


def test_before_the_first_champion_everything_is_nought(recorder: Recorder) -> None:
    recorder.saw(None, None, waiting=False)
    assert value(recorder, "coppice_rollout_generation") == 0.0
    assert value(recorder, "coppice_rollout_stage", stage="idle") == 0.0


def test_a_pause_is_shown(recorder: Recorder) -> None:
    recorder.saw(rollouts.shadow(paused=True), None, waiting=False)
    assert value(recorder, "coppice_rollout_paused") == 1.0


def test_decisions_are_counted_by_outcome(recorder: Recorder) -> None:
    recorder.decided(rollouts.watch())
    recorder.decided(rollouts.watch())
    assert value(recorder, "coppice_rollout_decisions_total", outcome="promoted") == 2.0


def test_what_goes_wrong_is_counted(recorder: Recorder) -> None:
    recorder.failed(OSError("disk"))
    recorder.passed_over()
    recorder.found_edit()
    assert value(recorder, "coppice_rollout_turn_errors_total", error="OSError") == 1.0
    assert value(recorder, "coppice_rollout_undecodable_events_total") == 1.0
    assert value(recorder, "coppice_rollout_external_edits_total") == 1.0


def test_a_registry_may_be_shared() -> None:
    registry = prometheus_client.CollectorRegistry()
    Recorder(MODEL, registry).decided(rollouts.watch())
    assert b"coppice_rollout_decisions_total" in prometheus_client.generate_latest(registry)


def test_steps_and_edits_are_counted_from_nought_so_that_the_first_is_an_increase(
    recorder: Recorder,
) -> None:
    rolled_back = value(recorder, "coppice_rollout_decisions_total", outcome="rolled-back")
    assert rolled_back == 0.0
    assert value(recorder, "coppice_rollout_external_edits_total") == 0.0
