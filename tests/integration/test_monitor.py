"""The monitor over a real log, registry and runtime, in small worlds whose truth is known."""

from __future__ import annotations

import pytest

from coppice import records
from monitoring import checkpoint
from tests.support import worlds

QUICK = {
    "evidence": {"promote_margin": 0.05},
    "decay": {"false_alarm_labels": 1000, "window": 300},
    "drift": {"window": 100, "calibration_windows": 50},
}
"""Wide margins and short windows, so that hundreds of requests decide."""


@pytest.fixture
def world(tmp_path) -> worlds.World:
    return worlds.World(tmp_path, **QUICK)


@pytest.fixture
def champion(world) -> str:
    found = world.version(*worlds.FAITHFUL)
    world.rollout(found)
    return found


def try_out(world, champion, *weights):
    candidate = world.version(*weights)
    world.rollout(champion, candidate=candidate)
    return candidate


def test_a_harmless_candidate_is_promoted(world, champion):
    candidate = try_out(world, champion, 1.0, 1.0, 1.0, 1.02)
    monitor = world.monitor()
    world.serve(400, champion, mirrors=[(candidate, "candidate")])
    world.settle(monitor)
    last = world.verdicts("candidate")[-1]
    assert (last.kind, last.version, last.against) == ("promote", candidate, champion)


def test_a_harmful_candidate_is_rolled_back(world, champion):
    candidate = try_out(world, champion, 1.0, 1.0, 0.0, 0.0)
    monitor = world.monitor()
    world.serve(200, champion, mirrors=[(candidate, "candidate")])
    world.settle(monitor)
    last = world.verdicts("candidate")[-1]
    assert (last.kind, last.version) == ("rollback", candidate)
    assert last.counts["harm"] > 0


def test_a_harmful_candidate_is_rolled_back_when_only_its_disagreements_are_labelled(
    world, champion
):
    candidate = try_out(world, champion, 1.0, 1.0, 0.0, 0.0)
    monitor = world.monitor()
    world.serve(200, champion, mirrors=[(candidate, "candidate")], labelled=False)
    world.settle(monitor)
    queue = monitor.status().queue
    asked = [entry.request_id for entry in queue if entry.reason == "disagreement"]
    world.label(asked)
    world.settle(monitor)
    assert world.verdicts("candidate")[-1].kind == "rollback"
    # Two of four equal weights: the answers' correlation is 1/sqrt(2), so they differ on
    # acos(0.7071) / pi = 25% of the requests, 50 of 200 with a deviation of 6.
    assert 30 <= len(asked) <= 70


def test_labels_of_disagreements_alone_do_not_look_like_decay(world, champion):
    candidate = try_out(world, champion, 1.0, 1.0, 0.0, 0.0)
    world.truth = world.truth * [1.0, 1.0, 0.0, 0.0]  # of the disagreements all are the champion's
    monitor = world.monitor()
    world.serve(400, champion, mirrors=[(candidate, "candidate")], labelled=False)
    world.settle(monitor)
    world.label([e.request_id for e in monitor.status().queue if e.reason == "disagreement"])
    world.settle(monitor)
    assert world.verdicts("candidate")[-1].kind == "promote"
    assert {verdict.kind for verdict in world.verdicts("champion")} == {"undecided"}


def test_without_labels_a_candidate_that_differs_stays_undecided(world, champion):
    candidate = try_out(world, champion, 1.0, 1.0, 0.0, 0.0)
    monitor = world.monitor()
    world.serve(1000, champion, mirrors=[(candidate, "candidate")], labelled=False)
    world.settle(monitor)
    assert {verdict.kind for verdict in world.verdicts("candidate")} == {"undecided"}


def test_a_candidate_that_fails_is_rolled_back_without_a_single_label(world, champion):
    candidate = try_out(world, champion, 1.0, 1.0, 1.0, 1.02)
    monitor = world.monitor()
    for request_id in world.serve(10, champion, labelled=False):
        world.write(
            records.Shadow(
                request_id=request_id,
                model=worlds.MODEL,
                version=candidate,
                role="candidate",
                against=champion,
                error="it broke",
            )
        )
    world.settle(monitor)
    last = world.verdicts("candidate")[-1]
    assert (last.kind, last.counts["failures"]) == ("rollback", 10)


def test_a_shift_that_no_version_survives_is_the_world(world):
    parent = world.version(*worlds.FAITHFUL)
    previous = world.version(1.0, 1.0, 1.0, 0.98, parent=parent)
    champion = world.version(1.0, 1.0, 1.0, 1.02, parent=parent)
    world.rollout(champion, previous=previous)
    monitor = world.monitor()
    world.serve(300, champion)
    world.settle(monitor)
    assert world.verdicts("champion")[-1].kind == "healthy"
    world.truth = world.truth * [1.0, -1.0, 1.0, 1.0]
    world.serve(300, champion)
    world.settle(monitor)
    last = world.verdicts("champion")[-1]
    assert (last.kind, last.cause, last.version) == ("decay", "world", champion)


def test_a_decay_that_the_dense_parent_does_not_show_is_the_pruning(world):
    parent = world.version(*worlds.FAITHFUL)
    champion = world.version(1.0, 1.0, 1.0, 0.0, parent=parent)
    world.rollout(champion)
    # What was cut away hardly matters at first: acos(3 / sqrt(3 * 3.09)) / pi = 5% of errors.
    world.truth = world.truth * [1.0, 1.0, 1.0, 0.3]
    monitor = world.monitor()
    world.serve(300, champion)
    world.settle(monitor)
    assert world.verdicts("champion")[-1].kind == "healthy"
    # Then it does: acos(3 / sqrt(3 * 4)) / pi = 17%, and none for the parent.
    world.truth = world.truth * [1.0, 1.0, 1.0, 1 / 0.3]
    world.serve(300, champion)
    world.settle(monitor)
    last = world.verdicts("champion")[-1]
    assert (last.kind, last.cause) == ("decay", "pruning")


def test_a_decay_that_the_previous_champion_does_not_show_is_the_release(world):
    previous = world.version(*worlds.FAITHFUL)
    champion = world.version(1.0, 1.0, 0.0, 0.0)
    world.rollout(champion, previous=previous)
    monitor = world.monitor()
    world.serve(300, champion)
    world.settle(monitor)
    last = world.verdicts("champion")[-1]
    assert (last.kind, last.cause) == ("decay", "release")


def test_a_decay_whose_inputs_were_not_stored_stays_undecided_and_says_why(world):
    champion = world.version(1.0, 1.0, 0.0, 0.0, parent=world.version(*worlds.FAITHFUL))
    world.rollout(champion)
    monitor = world.monitor()
    world.serve(300, champion, inputs={})
    world.settle(monitor)
    last = world.verdicts("champion")[-1]
    assert (last.kind, last.cause) == ("decay", "undecided")
    assert "events.capture" in last.reason


def test_a_decay_is_announced_once_for_each_cause_however_long_it_lasts(world):
    champion = world.version(1.0, 1.0, 0.0, 0.0)
    world.rollout(champion)
    monitor = world.monitor()
    for _ in range(10):
        world.serve(50, champion)
        world.settle(monitor)
    decays = [verdict for verdict in world.verdicts("champion") if verdict.kind == "decay"]
    # The first 50 labels raise the alarm, but a diagnosis takes 60.
    assert [verdict.cause for verdict in decays] == ["undecided", "world"]


def test_a_new_champion_is_judged_afresh(world):
    bad = world.version(1.0, 1.0, 0.0, 0.0)
    world.rollout(bad)
    monitor = world.monitor()
    world.serve(300, bad)
    world.settle(monitor)
    good = world.version(*worlds.FAITHFUL)
    world.rollout(good, previous=bad)
    world.serve(200, good)
    world.settle(monitor)
    last = world.verdicts("champion")[-1]
    assert (last.kind, last.version) == ("healthy", good)


def test_drifting_inputs_are_reported_without_a_label(world, champion):
    monitor = world.monitor()
    world.spread = world.spread * 3.0
    world.serve(300, champion, labelled=False)
    world.settle(monitor)
    assert world.verdicts("champion")[-1].kind == "drift"


def tell(world, monitor_of):
    """A story of two rollouts and a decay, with a monitor for each chapter."""
    champion = world.version(*worlds.FAITHFUL)
    world.rollout(champion)
    world.serve(150, champion)
    monitor = monitor_of(None)
    harmful = try_out(world, champion, 1.0, 1.0, 0.0, 0.0)
    world.serve(100, champion, mirrors=[(harmful, "candidate")])
    monitor = monitor_of(monitor)
    world.serve(100, champion, mirrors=[(harmful, "candidate")])
    monitor = monitor_of(monitor)
    world.rollout(champion, outcome="rolled-back")
    monitor = monitor_of(monitor)
    world.truth = world.truth * [1.0, -1.0, 1.0, 1.0]
    world.serve(150, champion)
    monitor_of(monitor_of(monitor))
    return [
        (verdict.scope, verdict.version, verdict.kind, verdict.cause)
        for verdict in world.read(records.Verdict)
    ]


def test_a_monitor_that_restarts_at_any_time_says_the_same_and_nothing_twice(tmp_path):
    # The clock stands still: how often a verdict is refreshed is another matter.
    def lasting(world):
        def next_chapter(monitor):
            monitor = monitor or world.monitor()
            world.settle(monitor, seconds=0.0)
            return monitor

        return next_chapter

    def killed(world):
        def next_chapter(_):
            monitor = world.monitor()
            world.settle(monitor, seconds=0.0)
            return monitor

        return next_chapter

    first = worlds.World(tmp_path / "first", **QUICK)
    second = worlds.World(tmp_path / "second", **QUICK)
    assert tell(first, lasting(first)) == tell(second, killed(second))


def test_a_restart_goes_on_from_the_checkpoint(world, champion):
    monitor = world.monitor()
    world.serve(200, champion)
    world.settle(monitor)
    monitor.save()
    assert world.monitor().turn() == 0


def test_a_restart_without_a_checkpoint_says_nothing_twice(world, champion):
    world.serve(200, champion)
    world.settle(world.monitor())
    spoken = len(world.read(records.Verdict))
    checkpoint.path(world.settings).unlink()
    world.settle(world.monitor())
    assert len(world.read(records.Verdict)) == spoken


def test_a_candidate_in_its_canary_lane_is_compared_as_in_shadow(world, champion):
    candidate = try_out(world, champion, 1.0, 1.0, 0.0, 0.0)
    monitor = world.monitor()
    world.serve(200, candidate, mirrors=[(champion, "champion")], lane="canary")
    world.settle(monitor)
    last = world.verdicts("candidate")[-1]
    assert (last.kind, last.against) == ("rollback", champion)


def test_agreement_with_the_dense_parent_is_measured_without_a_label(world):
    parent = world.version(*worlds.FAITHFUL)
    champion = world.version(1.0, 1.0, 0.0, 0.0, parent=parent)
    world.rollout(champion)
    monitor = world.monitor()
    world.serve(200, champion, mirrors=[(parent, "parent")], labelled=False)
    world.settle(monitor)
    # Two of four equal weights differ on acos(1 / sqrt(2)) / pi = 25% of the requests.
    (status,) = monitor.status().versions
    assert status.parent_agreement == pytest.approx(0.75, abs=0.1)
    assert status.parent_agreement_rows == 200
