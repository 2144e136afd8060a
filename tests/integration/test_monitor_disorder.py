"""The monitor on disordered, doubled, late, skewed and broken events: the verdict stays right or
becomes undecided, and is never a silent pass."""

from __future__ import annotations

import itertools
import math
import random

import msgspec
import numpy as np
import pytest

from coppice import records, testing
from tests.support import traffic, worlds

QUICK = {
    "evidence": {"promote_margin": 0.05},
    "decay": {"false_alarm_labels": 1000, "window": 300},
    "drift": {"window": 100, "calibration_windows": 50, "label_window": 100},
}
HARMLESS, HARMFUL = (1.0, 1.0, 1.0, 1.02), (1.0, 1.0, 0.0, 0.0)


@pytest.fixture
def world(tmp_path) -> worlds.World:
    return worlds.World(tmp_path, **QUICK)


@pytest.fixture
def champion(world) -> str:
    found = world.version(*worlds.FAITHFUL)
    world.rollout(found)
    return found


def tried(world, champion, weights, rows=400):
    """Try a candidate out on labelled, mirrored traffic."""
    candidate = world.version(*weights)
    world.rollout(champion, candidate=candidate)
    world.serve(rows, champion, mirrors=[(candidate, "candidate")])
    return candidate


def events(world):
    return world.log.read("", 1_000_000).events


def rewritten(world, found):
    """Let a log of these events take the place of the world's, under ids of their own."""
    world.log = testing.MemoryLog()
    world.log.append([msgspec.structs.replace(e, id=records.uuid7()) for e in found])


def judged(world, scope):
    world.settle(world.monitor())
    return world.verdicts(scope)[-1]


def is_rollout(event):
    return event.type == "coppice.rollout.v1"


def shuffled(found, seed):
    """The rollouts, then everything else in any order: labels and shadows before predictions."""
    first = [event for event in found if is_rollout(event)]
    rest = [event for event in found if not is_rollout(event)]
    random.Random(seed).shuffle(rest)
    return [*first, *rest]


BOTH = pytest.mark.parametrize(("weights", "kind"), [(HARMLESS, "promote"), (HARMFUL, "rollback")])


class TestOrder:
    @BOTH
    @pytest.mark.parametrize("seed", [1, 2])
    def test_events_in_any_order_give_the_same_verdict(self, world, champion, weights, kind, seed):
        tried(world, champion, weights)
        rewritten(world, shuffled(events(world), seed))
        assert judged(world, "candidate").kind == kind

    @BOTH
    def test_all_labels_first_give_the_same_verdict(self, world, champion, weights, kind):
        tried(world, champion, weights)
        found = events(world)
        labels = [event for event in found if event.type == "coppice.feedback.v1"]
        rest = [event for event in found if event.type != "coppice.feedback.v1"]
        rewritten(world, [*rest[:2], *labels, *rest[2:]])
        assert judged(world, "candidate").kind == kind

    @BOTH
    def test_all_labels_last_give_the_same_verdict(self, world, champion, weights, kind):
        tried(world, champion, weights)
        found = events(world)
        rewritten(world, sorted(found, key=lambda event: event.type == "coppice.feedback.v1"))
        assert judged(world, "candidate").kind == kind

    def test_a_champion_in_any_order_is_as_healthy(self, world, champion):
        world.serve(300, champion)
        rewritten(world, shuffled(events(world), seed=3))
        assert judged(world, "champion").kind == "healthy"


class TestDuplicates:
    @BOTH
    def test_every_event_thrice_counts_once(self, world, champion, weights, kind):
        candidate = tried(world, champion, weights)
        once = events(world)
        world.settle(world.monitor())
        counts = world.verdicts("candidate")[-1].counts
        again = [e for e in once if not is_rollout(e)]
        rewritten(world, [*once, *again, *again])
        world.settings.home.joinpath("monitor", "state.msgpack").unlink(missing_ok=True)
        last = judged(world, "candidate")
        assert (last.version, last.kind) == (candidate, kind)
        assert {name: last.counts[name] for name in ("harm", "gain", "tie", "labels")} == {
            name: counts[name] for name in ("harm", "gain", "tie", "labels")
        }

    def test_a_second_label_that_contradicts_the_first_changes_nothing(self, world, champion):
        ids = world.serve(300, champion)
        world.write(*[traffic.feedback(name, "no") for name in ids])
        assert judged(world, "champion").kind == "healthy"


class TestClocks:
    @BOTH
    @pytest.mark.parametrize("seconds", [3600.0, 86_400.0 * 365])
    def test_a_server_whose_clock_is_ahead_is_judged_alike(
        self, world, champion, weights, kind, seconds
    ):
        tried(world, champion, weights)
        rewritten(world, [skewed(e, seconds) for e in events(world)])
        assert judged(world, "candidate").kind == kind

    @BOTH
    def test_labels_from_any_clock_give_the_same_verdict(self, world, champion, weights, kind):
        tried(world, champion, weights)
        wild = random.Random(4)
        found = [
            msgspec.structs.replace(event, time=wild.uniform(-1e10, 1e10))
            if event.type == "coppice.feedback.v1"
            else event
            for event in events(world)
        ]
        rewritten(world, found)
        assert judged(world, "candidate").kind == kind

    @BOTH
    def test_a_server_whose_clock_is_behind_the_rollout_stays_undecided(
        self, world, champion, weights, kind
    ):
        # Its requests look older than the trial, so they might belong to an earlier one.
        tried(world, champion, weights)
        rewritten(world, [skewed(e, -3600.0) for e in events(world)])
        last = judged(world, "candidate")
        assert last.kind == "undecided"
        assert last.kind != kind

    def test_label_delays_are_never_negative(self, world, champion):
        world.serve(50, champion)
        found = [
            msgspec.structs.replace(e, time=-5.0) if e.type == "coppice.feedback.v1" else e
            for e in events(world)
        ]
        rewritten(world, found)
        monitor = world.monitor()
        world.settle(monitor)
        assert monitor.status().versions[0].label_delay.p50 == 0.0


def skewed(event, seconds):
    """The server's events, as if its clock went wrong; the controller's stay as they are."""
    return event if is_rollout(event) else msgspec.structs.replace(event, time=event.time + seconds)


class TestLabels:
    def test_labels_for_unknown_requests_change_no_verdict(self, world, champion):
        world.serve(300, champion)
        world.write(*[traffic.feedback(f"nobody-{number}", "no") for number in range(500)])
        assert judged(world, "champion").kind == "healthy"

    def test_labels_for_unknown_requests_alone_are_no_health(self, world, champion):
        assert champion
        world.write(*[traffic.feedback(f"nobody-{number}", "yes") for number in range(500)])
        last = judged(world, "champion")
        assert (last.kind, last.counts["labels"]) == ("undecided", 0)

    def test_labels_that_fit_nothing_are_no_health(self, world, champion):
        ids = world.serve(300, champion, labelled=False)
        world.write(*[traffic.feedback(name, "maybe") for name in ids])
        last = judged(world, "champion")
        assert (last.kind, last.counts["labels"]) == ("undecided", 0)

    @BOTH
    def test_labels_that_never_come_leave_a_candidate_that_differs_undecided(
        self, world, champion, weights, kind
    ):
        candidate = world.version(*[-weight for weight in weights])
        world.rollout(champion, candidate=candidate)
        world.serve(400, champion, mirrors=[(candidate, "candidate")], labelled=False)
        last = judged(world, "candidate")
        assert last.kind == "undecided"
        assert last.kind != kind

    def test_late_labels_still_roll_a_harmful_candidate_back(self, world, champion):
        candidate = world.version(*HARMFUL)
        world.rollout(champion, candidate=candidate)
        ids = world.serve(300, champion, mirrors=[(candidate, "candidate")], labelled=False)
        monitor = world.monitor()
        world.settle(monitor)
        assert world.verdicts("candidate")[-1].kind == "undecided"
        world.clock.advance(80_000.0)
        world.label(ids)
        world.settle(monitor)
        assert world.verdicts("candidate")[-1].kind == "rollback"


def altered(event, change):
    """A prediction whose features are others."""
    if event.type != "coppice.prediction.v1":
        return event
    record = records.unseal(event)
    values = np.array(record.features.array())
    change(values)
    whole = msgspec.structs.replace(record, features=records.Tensor.of(values))
    return records.seal(whole, source="test", now=event.time)


def constant(values):
    values[:, 3] = 0.25


def missing(values):
    values[:, 3] = math.nan


class TestWindows:
    def test_without_features_a_champion_is_never_called_healthy(self, world, champion):
        world.serve(300, champion, features=None)
        last = judged(world, "champion")
        assert last.kind == "undecided"
        assert "no window has been compared" in last.reason

    def test_empty_features_are_never_an_all_clear(self, world, champion):
        nothing = records.Tensor.of(np.empty((0, 6), dtype=np.float32))
        world.serve(300, champion, features=nothing)
        assert judged(world, "champion").kind == "undecided"

    def test_features_of_another_width_are_never_an_all_clear(self, world, champion):
        narrow = records.Tensor.of(np.zeros((1, 2), dtype=np.float32))
        world.serve(300, champion, features=narrow)
        assert judged(world, "champion").kind == "undecided"

    def test_a_column_that_becomes_constant_is_drift(self, world, champion):
        world.serve(300, champion)
        rewritten(world, [altered(event, constant) for event in events(world)])
        last = judged(world, "champion")
        assert last.kind == "drift"
        assert "input.x[1]" in last.reason

    def test_a_column_that_is_missing_altogether_withholds_the_all_clear(self, world, champion):
        world.serve(300, champion)
        rewritten(world, [altered(event, missing) for event in events(world)])
        monitor = world.monitor()
        world.settle(monitor)
        last = world.verdicts("champion")[-1]
        assert last.kind == "undecided"
        assert "input.x[1]: 100 of 100 values are NaN" in last.reason
        found = monitor.status()
        assert found.violations.missing == {"input.x[1]": 100}
        assert found.estimate is None

    def test_a_category_that_nobody_knows_changes_no_verdict_and_no_other_slice(
        self, world, champion
    ):
        candidate = world.version(*HARMFUL)
        world.rollout(champion, candidate=candidate)
        pens = itertools.cycle(["ink", "lead", "chalk-never-seen"])
        for _ in range(30):
            world.serve(
                10, champion, mirrors=[(candidate, "candidate")], slices={"pen": next(pens)}
            )
        assert judged(world, "candidate").kind == "rollback"

    def test_labels_of_one_class_alone_are_label_drift(self, world, champion):
        # Both versions of the world: the inputs' sum is always positive, so is the truth.
        ids = world.serve(300, champion, labelled=False)
        world.write(*[traffic.feedback(name, "yes") for name in ids])
        monitor = world.monitor()
        world.settle(monitor)
        assert monitor.status().label_drift.alarmed
        assert world.verdicts("champion")[-1].kind != "healthy"


class TestRestart:
    @BOTH
    def test_a_restart_after_every_few_events_gives_the_same_verdict(
        self, world, champion, weights, kind
    ):
        candidate = world.version(*weights)
        world.rollout(champion, candidate=candidate)
        for _ in range(8):
            world.serve(50, champion, mirrors=[(candidate, "candidate")], slices={"pen": "ink"})
            monitor = world.monitor()
            monitor.turn()
            monitor.save()
        assert judged(world, "candidate").kind == kind

    def test_windows_that_are_half_full_survive_a_restart(self, world, champion):
        for _ in range(6):
            world.serve(50, champion, slices={"pen": "ink"})
            monitor = world.monitor()
            monitor.turn()
            monitor.save()
        found = world.monitor()
        world.settle(found)
        seen = found.status()
        assert seen.drift_windows == 3
        assert seen.label_drift.rows == 100
        assert seen.estimate.rows == 100
