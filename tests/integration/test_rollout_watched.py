"""A controller that looks once an hour, and acts at once on what a rollout tool reports."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.backends.kube import pods
from tests.support import clusters, kube_server, kube_store
from tests.support.clusters import KINDS, Kind, Stage, Versions
from tests.support.kube_store import Key, Role
from tests.support.rollouts import MODEL

HOUR = 3600.0
OWNERS: dict[Kind, Key] = {
    "argo": Key("argoproj.io/v1alpha1", "rollouts", "default", MODEL),
    "flagger": Key("flagger.app/v1beta1", "canaries", "default", MODEL),
    "gateway": Key("gateway.networking.k8s.io/v1", "httproutes", "default", MODEL),
}


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return clusters.versions(tmp_path_factory.mktemp("versions"))


def poke(stage: Stage) -> None:
    """Change the object that is watched, as a tool does that notes when it looked last."""
    stage.cluster.store.update(
        OWNERS[stage.kind],
        lambda now: kube_store.merged(
            now, {"metadata": {"annotations": {"looked": now["metadata"]["resourceVersion"]}}}
        ),
    )


def git_names(stage: Stage, candidate: str) -> None:
    """Put a candidate into the pod template, as Git's tool does."""
    table = msgspec.structs.replace(
        stage.template(), generation=2, candidate=candidate, weight=1.0, mirror=1.0
    )
    template = {"metadata": {"annotations": {pods.ROUTING: pods.encode(table)}}}
    change = {"spec": {"template": template}}
    stage.cluster.store.update(OWNERS["argo"], lambda now: kube_store.merged(now, change))


@contextlib.contextmanager
def controlled(stage: Stage, poll_seconds: float = HOUR) -> Iterator[Callable[[], int]]:
    """Run a controller in a thread; gives how many turns it began."""
    rollout = stage.tree.rollout.model_copy(update={"poll_seconds": poll_seconds})
    stage.tree = stage.tree.model_copy(update={"rollout": rollout})
    turns, ends = [0], threading.Event()

    def stop() -> bool:
        turns[0] += 1
        return ends.is_set()

    thread = threading.Thread(target=stage.controller().run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield lambda: turns[0]
    finally:
        ends.set()
        poke(stage)
        thread.join(10.0)
        assert not thread.is_alive()


def watched(stage: Stage, turns: Callable[[], int]) -> None:
    """Wait until the controller has nothing to do but wait for the tool."""
    # The second turn is owed to what the watch shows when it begins.
    kube_server.wait_for(lambda: turns() >= 2 and stage.cluster.watches >= 1)


def outcome(stage: Stage, wanted: str) -> Callable[[], bool]:
    return lambda: stage.state().outcome == wanted


@pytest.mark.parametrize("kind", ["argo", "flagger"])
def test_a_canary_that_the_tool_gives_up_is_recorded_at_once(
    kind: Kind, versions: Versions, tmp_path: Path
) -> None:
    with clusters.running(kind, versions, tmp_path) as stage:
        clusters.trial(stage).live_through(clusters.verdict(stage, "undecided"))
        with controlled(stage) as turns:
            watched(stage, turns)
            stage.tool.fail("somebody else's metric")
            kube_server.wait_for(outcome(stage, "rolled-back"))

        assert stage.state().champion == versions.first


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_the_object_is_looked_at_at_once(
    kind: Kind, versions: Versions, tmp_path: Path
) -> None:
    with clusters.running(kind, versions, tmp_path) as stage:
        clusters.trial(stage)
        with controlled(stage) as turns:
            watched(stage, turns)
            stage.tell(clusters.verdict(stage, "rollback"))
            poke(stage)
            kube_server.wait_for(outcome(stage, "rolled-back"))


def test_a_version_that_git_names_is_recorded_at_once(versions: Versions, tmp_path: Path) -> None:
    with clusters.running("argo", versions, tmp_path, write_back="none") as stage:
        stage.commit(generation=1, champion=versions.first)
        with controlled(stage) as turns:
            watched(stage, turns)
            git_names(stage, versions.second)
            kube_server.wait_for(outcome(stage, "started"))

        assert stage.state().candidate == versions.second
        assert set(stage.writes()) <= {"create leases", "update leases"}


def test_what_happens_while_the_watch_is_cut_is_not_missed(
    versions: Versions, tmp_path: Path
) -> None:
    with clusters.running("argo", versions, tmp_path) as stage:
        clusters.trial(stage)
        with controlled(stage) as turns:
            watched(stage, turns)
            stage.cluster.cut_watches()
            stage.tool.fail("somebody else's metric")
            kube_server.wait_for(outcome(stage, "rolled-back"))


def test_versions_that_the_server_forgot_stop_nothing(versions: Versions, tmp_path: Path) -> None:
    with clusters.running("argo", versions, tmp_path) as stage:
        clusters.trial(stage)
        with controlled(stage) as turns:
            watched(stage, turns)
            stage.cluster.forget_changes()
            stage.cluster.cut_watches()
            stage.tool.fail("somebody else's metric")
            kube_server.wait_for(outcome(stage, "rolled-back"))


def test_a_role_that_lacks_the_watch_leaves_the_polling(versions: Versions, tmp_path: Path) -> None:
    with clusters.running("argo", versions, tmp_path) as stage:
        clusters.trial(stage)
        every = ["get", "list", "create", "update", "patch"]
        rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": every}
        stage.cluster.roles[""] = Role([rule])
        with controlled(stage, poll_seconds=0.02) as turns:
            kube_server.wait_for(lambda: turns() >= 5)
            stage.tool.fail("somebody else's metric")
            kube_server.wait_for(outcome(stage, "rolled-back"))

        assert stage.cluster.watches == 0
