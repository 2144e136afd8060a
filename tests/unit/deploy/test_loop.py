"""The controller on the in-memory twins of every store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coppice import records, settings
from coppice.testing import ManualClock, MemoryLog, MemoryRegistry
from deploy.backends.memory import MemoryBackend
from deploy.loop import Controller
from deploy.recorder import Recorder
from tests.support import artifacts, rollouts
from tests.support.rollouts import MODEL

STEPS = {"steps": [0.5], "step_seconds": 10.0, "step_requests": 2, "watch_seconds": 100.0}


@dataclasses.dataclass
class Stage:
    """Everything that a controller touches."""

    log: MemoryLog
    registry: MemoryRegistry
    backend: MemoryBackend
    clock: ManualClock
    recorder: Recorder
    tree: settings.Settings
    first: str
    second: str
    third: str

    def controller(self) -> Controller:
        return Controller(
            self.log, self.registry, self.backend, self.tree, self.clock, self.recorder
        )

    def tell(self, *found: records.Record) -> None:
        now = self.clock.now()
        self.log.append([records.seal(record, source="test", now=now) for record in found])

    def state(self) -> records.Rollout:
        event = self.log.latest(MODEL, records.Rollout)
        assert event is not None
        record = records.unseal(event)
        assert isinstance(record, records.Rollout)
        return record

    def table(self) -> Any:
        return self.backend.observe().table

    def value(self, name: str, **labels: str) -> float | None:
        return self.recorder.registry.get_sample_value(name, {"model": MODEL, **labels})


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    registry = MemoryRegistry(tmp_path / "registry")
    dense = artifacts.linear_classifier(tmp_path / "dense", name=MODEL)
    registry.add(tmp_path / "dense")
    tags = [
        _add(registry, tmp_path / str(accepted), accepted, dense) for accepted in (0.9, 0.8, 0.7)
    ]
    return Stage(
        MemoryLog(),
        registry,
        MemoryBackend(),
        ManualClock(),
        Recorder(MODEL),
        settings.from_tree({"project": {"name": MODEL}, "rollout": STEPS}, root=tmp_path),
        *tags,
    )


def _add(registry: MemoryRegistry, folder: Path, accepted: float, parent: str) -> str:
    artifacts.linear_classifier(folder, name=MODEL, accepted=accepted, parent=parent)
    return registry.add(folder)


@pytest.fixture
def in_canary(stage: Stage) -> Stage:
    """The second version answers half of the traffic."""
    controller = stage.controller()
    stage.tell(rollouts.candidate(stage.first))
    controller.turn()
    stage.tell(rollouts.candidate(stage.second))
    controller.turn()
    stage.tell(rollouts.verdict("promote", stage.second))
    controller.turn()
    return stage


def test_a_turn_without_news_does_nothing(stage: Stage) -> None:
    assert stage.controller().turn() is None
    assert stage.table() is None


def test_the_first_candidate_serves_at_once(stage: Stage) -> None:
    stage.tell(rollouts.candidate(stage.first))
    stage.controller().turn()
    assert (stage.table().champion, stage.table().generation) == (stage.first, 1)
    assert stage.registry.aliases(MODEL)["champion"] == stage.first
    assert (stage.state().outcome, stage.state().generation) == ("promoted", 1)


def test_the_table_names_the_champions_dense_parent(stage: Stage) -> None:
    stage.tell(rollouts.candidate(stage.first))
    stage.controller().turn()
    assert stage.table().parent in stage.registry.tags(MODEL)
    assert stage.table().parent_mirror == 0.05


def test_a_whole_rollout_from_shadow_to_settled(in_canary: Stage) -> None:
    stage, controller = in_canary, in_canary.controller()
    assert (stage.state().stage, stage.table().weight) == ("canary", 0.5)
    stage.tell(rollouts.answer(stage.second), rollouts.answer(stage.second))
    stage.clock.advance(10.0)
    controller.turn()
    assert (stage.state().stage, stage.table().champion) == ("watch", stage.second)
    assert stage.registry.aliases(MODEL)["previous"] == stage.first
    assert "candidate" not in stage.registry.aliases(MODEL)
    stage.clock.advance(100.0)
    controller.turn()
    assert (stage.state().outcome, stage.table().previous) == ("settled", None)
    assert controller.turn() is None


def test_a_canary_waits_for_its_requests(in_canary: Stage) -> None:
    stage, controller = in_canary, in_canary.controller()
    stage.clock.advance(1000.0)
    stage.tell(rollouts.answer(stage.second))
    assert controller.turn() is None
    stage.tell(rollouts.answer(stage.second))
    assert controller.turn() is not None


def test_a_rollback_goes_through_the_backends_abort(in_canary: Stage) -> None:
    in_canary.tell(rollouts.verdict("rollback", in_canary.second))
    in_canary.controller().turn()
    assert in_canary.backend.aborts == ["evidence says rollback"]
    assert (in_canary.table().candidate, in_canary.state().stage) == (None, "idle")
    assert in_canary.table().generation == in_canary.state().generation


def test_a_bad_release_is_taken_back_after_promotion(in_canary: Stage) -> None:
    controller = in_canary.controller()
    in_canary.tell(rollouts.command("promote"))
    controller.turn()
    in_canary.tell(rollouts.decay(in_canary.second))
    controller.turn()
    assert in_canary.table().champion == in_canary.first
    assert in_canary.registry.aliases(MODEL)["champion"] == in_canary.first
    assert "previous" not in in_canary.registry.aliases(MODEL)


def test_a_command_that_does_not_fit_is_answered_in_the_log(in_canary: Stage) -> None:
    controller = in_canary.controller()
    before = in_canary.table()
    in_canary.tell(rollouts.command("resume"))
    controller.turn()
    assert in_canary.state().outcome == "refused"
    assert in_canary.table() == before
    assert controller.turn() is None


def test_a_restarted_controller_goes_on_where_it_stood(in_canary: Stage) -> None:
    in_canary.tell(rollouts.answer(in_canary.second), rollouts.answer(in_canary.second))
    in_canary.clock.advance(10.0)
    in_canary.controller().turn()
    assert in_canary.state().outcome == "promoted"


def test_a_restarted_controller_repeats_nothing(in_canary: Stage) -> None:
    end = in_canary.log.end()
    assert in_canary.controller().turn() is None
    assert in_canary.log.end() == end


def test_a_candidate_that_comes_during_a_rollout_starts_after_it(in_canary: Stage) -> None:
    controller = in_canary.controller()
    in_canary.tell(rollouts.candidate(in_canary.third))
    assert controller.turn() is None
    assert in_canary.value("coppice_rollout_waiting_candidates") == 1.0
    in_canary.tell(rollouts.command("abort"))
    controller.turn()
    controller.turn()
    assert (in_canary.state().stage, in_canary.state().candidate) == ("shadow", in_canary.third)


def test_a_candidate_that_is_in_no_registry_does_not_start(stage: Stage) -> None:
    stage.tell(rollouts.candidate("tiny:000000000000"))
    assert stage.controller().turn() is None


def test_somebody_elses_table_is_reported_once_and_stands(in_canary: Stage) -> None:
    controller = in_canary.controller()
    theirs = msgspec.structs.replace(in_canary.table(), generation=50, weight=0.05)
    in_canary.backend.apply(theirs)
    controller.turn()
    controller.turn()
    assert in_canary.table() == theirs
    assert in_canary.value("coppice_rollout_external_edits_total") == 1.0
    assert in_canary.value("coppice_rollout_weight_ratio") == 0.05


def test_the_step_after_somebody_elses_table_is_newer_than_it(in_canary: Stage) -> None:
    in_canary.backend.apply(msgspec.structs.replace(in_canary.table(), generation=50))
    in_canary.tell(rollouts.verdict("rollback", in_canary.second))
    in_canary.controller().turn()
    assert (in_canary.table().generation, in_canary.state().generation) == (51, 51)


def test_an_event_that_does_not_decode_is_counted_and_passed_over(stage: Stage) -> None:
    good = records.seal(rollouts.candidate(stage.first), source="test", now=0.0)
    broken = msgspec.structs.replace(good, id="broken", data=b"\xc1")
    stage.log.append([broken, good])
    stage.controller().turn()
    assert stage.value("coppice_rollout_undecodable_events_total") == 1.0
    assert stage.table().champion == stage.first


def test_metrics_show_the_stage_and_the_decisions(in_canary: Stage) -> None:
    assert in_canary.value("coppice_rollout_stage", stage="canary") == 1.0
    assert in_canary.value("coppice_rollout_generation") == 3.0
    assert in_canary.value("coppice_rollout_decisions_total", outcome="started") == 1.0


def stop_after(turns: int) -> Callable[[], bool]:
    left = iter([False] * turns + [True])
    return lambda: next(left)


def test_the_loop_sleeps_only_when_there_was_nothing_to_do(stage: Stage) -> None:
    stage.tell(rollouts.candidate(stage.first))
    before = stage.clock.monotonic()
    stage.controller().run(stop_after(3))
    # One turn made a champion, two found nothing: two pauses of 0.5 s.
    assert stage.clock.monotonic() - before == 1.0


def test_a_turn_that_raises_is_counted_and_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.tell(rollouts.candidate(stage.first))
    controller = stage.controller()
    with monkeypatch.context() as broken:
        broken.setattr(stage.registry, "point", _no_disk)
        controller.run(stop_after(2))
    assert stage.value("coppice_rollout_turn_errors_total", error="OSError") == 2.0
    controller.run(stop_after(1))
    assert (stage.state().outcome, stage.table().generation) == ("promoted", 1)


def _no_disk(*_: object) -> None:
    message = "no space left on device"
    raise OSError(message)


def test_a_controller_that_does_not_lead_reads_along_and_moves_nothing(stage: Stage) -> None:
    stage.tell(rollouts.candidate(stage.first))
    stage.backend.leading = False
    controller = stage.controller()

    assert controller.turn() is None
    assert stage.table() is None
    # It has read the candidate already, and goes on from there.
    stage.backend.leading = True
    assert controller.turn() is not None
    assert stage.table().champion == stage.first


def test_before_the_first_turn_nothing_is_known(stage: Stage) -> None:
    assert stage.controller().view(30.0) is None


def test_a_turn_leaves_what_it_knew_for_who_asks(in_canary: Stage) -> None:
    controller = in_canary.controller()
    controller.turn()
    seen = controller.view(30.0)
    assert seen is not None
    assert (seen.candidate, seen.routed) == (in_canary.second, in_canary.table())
    assert seen.judged["verdict"] == "promote"


def test_what_a_turn_knew_grows_old(stage: Stage) -> None:
    controller = stage.controller()
    controller.turn()
    stage.clock.advance(30.0)
    assert controller.view(30.0) is not None
    stage.clock.advance(0.1)
    assert controller.view(30.0) is None
    assert controller.view(float("inf")) is not None


def test_a_turn_that_raises_renews_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = stage.controller()
    controller.turn()
    stage.clock.advance(31.0)
    monkeypatch.setattr(stage.backend, "observe", _no_disk)
    controller.run(stop_after(1))
    assert controller.view(30.0) is None


def test_a_step_whose_pods_are_not_ready_is_taken_once_they_are(
    in_canary: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = in_canary.controller()
    in_canary.tell(rollouts.command("promote"))
    end = in_canary.log.end()
    with monkeypatch.context() as rolling:
        rolling.setattr(in_canary.backend, "apply", lambda _: False)
        assert controller.turn() is None
        assert in_canary.log.end() == end

    assert controller.turn() is not None
    assert in_canary.state().outcome == "promoted"


def test_stragglers_are_told_from_time_to_time_and_only_when_all_is_settled(
    in_canary: Stage,
) -> None:
    controller = in_canary.controller()
    before = in_canary.backend.tended
    controller.turn()
    controller.turn()
    assert in_canary.backend.tended == before + 1
    in_canary.clock.advance(30.0)
    in_canary.tell(rollouts.command("pause"))
    controller.turn()
    assert in_canary.backend.tended == before + 1
    controller.turn()
    assert in_canary.backend.tended == before + 2


def test_who_does_not_lead_tells_nobody(in_canary: Stage) -> None:
    in_canary.backend.leading = False
    before = in_canary.backend.tended
    in_canary.controller().turn()
    assert in_canary.backend.tended == before
