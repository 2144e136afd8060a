"""Each rollout tool under failures of the API, several controllers, stragglers and GitOps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coppice import errors
from deploy import backends
from deploy.backends.kube import client, connect
from deploy.loop import Controller
from deploy.recorder import Recorder
from tests.support import clusters, kubelet, rollouts
from tests.support.clusters import KINDS, Kind, Stage, Versions
from tests.support.kube_server import Fault
from tests.support.rollouts import MODEL


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return clusters.versions(tmp_path_factory.mktemp("versions"))


@pytest.fixture(params=KINDS)
def stage(request: pytest.FixtureRequest, versions: Versions, tmp_path: Path) -> Iterator[Stage]:
    with clusters.running(request.param, versions, tmp_path) as made:
        yield made


@pytest.fixture
def on_trial(stage: Stage) -> Stage:
    return clusters.trial(stage)


def champion(stage: Stage) -> tuple[str, set[str]]:
    """Who is champion by the log, and who answers."""
    return stage.state().champion, stage.answers()


@pytest.mark.parametrize("code", [0, 403, 409, 422, 429, 500, 503])
def test_failures_of_the_api_delay_a_rollback_and_change_nothing(
    on_trial: Stage, code: int
) -> None:
    on_trial.cluster.fail(*[Fault(code, verb="patch")] * 2)

    on_trial.live_through(clusters.verdict(on_trial, "rollback"))

    assert champion(on_trial) == (on_trial.first, {on_trial.first})
    assert on_trial.cluster.faults == []
    assert kubelet.unsafe_moments(on_trial.cluster, MODEL, on_trial.served_since) == []


@pytest.mark.parametrize("code", [0, 500])
def test_writes_whose_answers_are_lost_are_not_made_twice(on_trial: Stage, code: int) -> None:
    lost = Fault(code, verb="patch", done_all_the_same=True)
    on_trial.cluster.fail(lost, lost, lost)

    on_trial.live_through(clusters.verdict(on_trial, "promote"))

    assert champion(on_trial) == (on_trial.second, {on_trial.second})
    outcomes = [event.outcome for event in on_trial.events()]
    assert outcomes.count("promoted") == 2
    assert kubelet.unsafe_moments(on_trial.cluster, MODEL, on_trial.served_since) == []


def test_pods_that_start_after_a_promotion_are_told_of_it(on_trial: Stage) -> None:
    on_trial.live_through(clusters.verdict(on_trial, "promote"))
    controller = on_trial.controller()
    controller.turn()
    late = on_trial.start_pod("late")
    said = on_trial.routes_by(late)

    controller.turn()
    before = on_trial.routes_by(late)
    on_trial.clock.advance(30.0)
    controller.turn()

    # They were looked after a moment ago; the next time is after 30 s.
    assert before == said
    told = on_trial.routes_by(late)
    assert (told.champion, told.candidate) == (on_trial.second, None)
    assert (told.previous, told.mirror) == (on_trial.first, 0.0)


@pytest.fixture
def two(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Controller, Controller]]:
    """Two controllers, each in a pod of its own."""
    monkeypatch.setattr(connect.clock, "SystemClock", lambda: stage.clock)
    with contextlib.ExitStack() as stack:
        names = iter(["one", "another"])
        monkeypatch.setattr(connect.socket, "gethostname", lambda: next(names))
        opened = [
            stack.enter_context(contextlib.closing(backends.open_backend(stage.tree)))
            for _ in range(2)
        ]
        one, another = [
            Controller(stage.log, stage.registry, backend, stage.tree, stage.clock, Recorder(MODEL))
            for backend in opened
        ]
        yield one, another


def both(stage: Stage, one: Controller, two: Controller, turns: int) -> list[list[Any]]:
    """Let two controllers and the tool take turns; return what each did."""
    done = [
        (stage.clock.advance(2.0), one.turn(), two.turn(), stage.tool.reconcile())
        for _ in range(turns)
    ]
    return [[took[place] for took in done if took[place] is not None] for place in (1, 2)]


def test_of_two_controllers_one_moves_the_rollout_and_the_other_takes_over(
    stage: Stage, two: tuple[Controller, Controller]
) -> None:
    one, another = two
    stage.tell(rollouts.candidate(stage.first))
    by_one, by_another = both(stage, one, another, 6)
    assert (len(by_one), by_another) == (1, [])
    stage.tell(rollouts.candidate(stage.second))
    one.turn()

    # The first is gone without a word. Its lease lasts 15 s from when the other last saw it move.
    assert another.turn() is None
    stage.clock.advance(15.0)
    stage.tell(clusters.verdict(stage, "rollback"))
    by_another, _ = both(stage, another, another, 6)

    assert [step.rollout.outcome for step in by_another][-1:] == ["rolled-back"]
    assert champion(stage) == (stage.first, {stage.first})
    # The first comes back, and finds that it leads no longer.
    assert one.turn() is None


def test_a_leader_that_waits_longer_than_its_lease_leaves_the_write_to_the_next(
    stage: Stage, two: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, another = two
    stage.tell(rollouts.candidate(stage.first))
    both(stage, one, another, 6)
    before = stage.backend.observe().table
    stage.tell(rollouts.candidate(stage.second))
    # Its first write meets a server that is busy; it tries again 11 s later, and may lead for 10.
    stage.cluster.fail(Fault(503, verb="patch"))
    monkeypatch.setattr(client, "_pause", lambda *_: stage.clock.advance(11.0) or 0.0)

    stage.clock.advance(2.0)
    with pytest.raises(errors.ClusterConflict, match="we lead no longer"):
        one.turn()

    assert stage.backend.observe().table == before
    monkeypatch.undo()
    assert another.turn() is None
    stage.clock.advance(15.0)
    both(stage, another, another, 6)
    assert stage.state().candidate == stage.second
    assert one.turn() is None


GIT: tuple[Kind, ...] = ("argo", "flagger")


@pytest.fixture(params=GIT)
def git(request: pytest.FixtureRequest, versions: Versions, tmp_path: Path) -> Iterator[Stage]:
    """Git names the second version beside the first, and we only look."""
    with clusters.running(request.param, versions, tmp_path, write_back="none") as made:
        made.commit(generation=1, champion=made.first)
        made.commit(generation=2, champion=made.first, candidate=made.second, weight=1.0)
        yield made


def leases_alone(stage: Stage) -> bool:
    return set(stage.writes()) <= {"create leases", "update leases"}


def test_what_git_names_is_on_trial(git: Stage) -> None:
    state = git.state()
    assert (state.champion, state.candidate) == (git.first, git.second)
    assert git.answers() == {git.first, git.second}
    assert leases_alone(git)


def test_a_version_of_gits_that_is_found_good_is_promoted_by_the_tool(git: Stage) -> None:
    git.live_through(clusters.verdict(git, "promote"))

    assert champion(git) == (git.second, {git.second})
    assert git.state().outcome == "promoted"
    assert git.registry.aliases(MODEL)["champion"] == git.second
    assert leases_alone(git)


def test_a_version_of_gits_that_is_worse_is_aborted_by_the_tool_and_not_tried_again(
    git: Stage,
) -> None:
    git.live_through(clusters.verdict(git, "rollback"))

    state = git.state()
    assert (state.outcome, state.champion) == ("rolled-back", git.first)
    assert git.answers() == {git.first}
    assert [event.outcome for event in git.events()].count("started") == 1
    assert leases_alone(git)


def test_a_command_is_refused_where_git_says_what_runs(git: Stage) -> None:
    git.live_through(rollouts.command("promote"))

    assert git.state().outcome == "refused"
    assert "Git" in git.state().reason
    assert leases_alone(git)


def test_a_version_that_git_brings_back_is_champion_again(git: Stage) -> None:
    git.live_through(clusters.verdict(git, "promote"))

    git.commit(generation=3, champion=git.first)

    assert (git.state().outcome, git.state().champion) == ("rolled-back", git.first)
    assert git.answers() == {git.first}
