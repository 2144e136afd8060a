"""The controller and a scripted Argo on one Rollout: they meet only through the cluster's API."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coppice import errors, records, settings
from coppice.testing import ManualClock, MemoryLog, MemoryRegistry
from deploy import backends
from deploy.backends.base import Backend
from deploy.backends.kube import pods
from deploy.loop import Controller
from deploy.recorder import Recorder
from tests.support import argo, artifacts, kube_server, kube_store, rollouts
from tests.support.argo import Argo
from tests.support.kube_server import Cluster, Fault
from tests.support.rollouts import MODEL

STEPS = [{"setWeight": 10}, {"analysis": {"templates": []}}, {"setWeight": 50}, {"pause": {}}]
ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": MODEL},
    "spec": {
        "selector": {"matchLabels": {"app": MODEL}},
        "strategy": {"canary": {"steps": STEPS}},
        "template": {
            "metadata": {"labels": {"app": MODEL}},
            "spec": {"containers": [{"name": "server", "image": "coppice"}]},
        },
    },
}


@dataclasses.dataclass
class Stage:
    """A cluster with Argo, and everything that a controller touches beside it."""

    cluster: Cluster
    argo: Argo
    log: MemoryLog
    registry: MemoryRegistry
    backend: Backend
    clock: ManualClock
    tree: settings.Settings
    first: str
    second: str
    verdict: str = "undecided"
    """What an analysis of Argo's is told."""

    def controller(self) -> Controller:
        return Controller(
            self.log, self.registry, self.backend, self.tree, self.clock, Recorder(MODEL)
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

    def go_on(self, turns: int = 1) -> records.Rollout:
        """Let a fresh controller and Argo take turns: nothing lives on but the stores."""
        for _ in range(turns):
            self.clock.advance(1.0)
            self.controller().turn()
            self.argo.reconcile()
        return self.state()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    registry = MemoryRegistry(tmp_path / "registry")
    dense = artifacts.linear_classifier(tmp_path / "dense", name=MODEL)
    registry.add(tmp_path / "dense")
    tags = [_add(registry, tmp_path / str(share), share, dense) for share in (0.9, 0.8)]
    with kube_server.running(schemas=kube_store.crd_schemas()) as cluster:
        cluster.add(ROLLOUT)
        (tmp_path / "kube").write_text(cluster.kubeconfig())
        tree = settings.from_tree(
            {
                "project": {"name": MODEL},
                "rollout": {"backend": "argo", "watch_seconds": 100.0},
                "cluster": {"kubeconfig": "kube"},
            },
            root=tmp_path,
        )
        backend = backends.open_backend(tree)
        made = Stage(
            cluster,
            Argo(cluster, MODEL, lambda: made.verdict),
            MemoryLog(),
            registry,
            backend,
            ManualClock(),
            tree,
            *tags,
        )
        yield made
        backend.close()


def _add(registry: MemoryRegistry, folder: Path, accepted: float, parent: str) -> str:
    artifacts.linear_classifier(folder, name=MODEL, parent=parent, accepted=accepted)
    return registry.add(folder)


@pytest.fixture
def on_trial(stage: Stage) -> Stage:
    """The second version gets its first tenth of the traffic."""
    stage.tell(rollouts.candidate(stage.first))
    stage.go_on(2)
    stage.tell(rollouts.candidate(stage.second))
    stage.go_on(2)
    assert stage.go_on().weight == 0.1
    return stage


def answers(stage: Stage) -> set[str]:
    return set(argo.told(stage.cluster).values())


def annotation(stage: Stage) -> Any:
    template = stage.argo.rollout()["spec"]["template"]["metadata"]
    return template["annotations"][pods.ROUTING]


def test_the_first_version_serves_alone(stage: Stage) -> None:
    stage.tell(rollouts.candidate(stage.first))

    assert stage.go_on(2).champion == stage.first
    assert answers(stage) == {stage.first}
    assert stage.argo.rollout()["status"]["phase"] == "Healthy"


def test_a_candidate_on_trial_has_pods_of_its_own_beside_the_stable_ones(on_trial: Stage) -> None:
    assert answers(on_trial) == {on_trial.first, on_trial.second}
    assert on_trial.state().stage == "canary"


def test_an_undecided_candidate_waits_where_it_is(on_trial: Stage) -> None:
    assert on_trial.go_on(5).weight == 0.1


def test_a_candidate_that_is_found_good_becomes_champion_as_argo_promotes_it(
    on_trial: Stage,
) -> None:
    on_trial.verdict = "promote"
    assert on_trial.go_on(3).weight == 0.5
    on_trial.tell(rollouts.command("resume"))
    on_trial.backend.steer("resume")

    state = on_trial.go_on(4)

    assert (state.stage, state.champion, state.previous) == (
        "watch",
        on_trial.second,
        on_trial.first,
    )
    assert answers(on_trial) == {on_trial.second}
    assert on_trial.registry.aliases(MODEL)["champion"] == on_trial.second


def test_pods_that_were_promoted_stop_mirroring_without_a_restart(on_trial: Stage) -> None:
    on_trial.tell(rollouts.command("promote"))
    on_trial.go_on(4)

    (pod,) = on_trial.cluster.store.list("v1", "pods", "default")
    told = pods.decode(pod["metadata"]["annotations"][pods.ROUTING])
    assert (told.champion, told.candidate, told.mirror) == (on_trial.second, None, 0.0)


def test_a_rollback_verdict_sends_the_traffic_back_and_the_annotation_too(on_trial: Stage) -> None:
    on_trial.tell(
        rollouts.verdict("rollback", on_trial.second, against=on_trial.first, slice="all")
    )

    state = on_trial.go_on(3)

    assert (state.stage, state.outcome, state.champion) == ("idle", "rolled-back", on_trial.first)
    assert answers(on_trial) == {on_trial.first}
    # The spec wants the stable pods again: no degraded Rollout is left for the next sync.
    assert on_trial.argo.rollout()["status"]["phase"] == "Healthy"
    assert pods.answering(annotation(on_trial)) == on_trial.first


def test_what_argo_aborts_by_itself_is_recorded_with_its_reason(on_trial: Stage) -> None:
    on_trial.argo.fail('metric "error-rate" assessed Failed')
    on_trial.argo.reconcile()

    state = on_trial.go_on(2)

    assert (state.outcome, state.champion) == ("rolled-back", on_trial.first)
    assert 'metric "error-rate" assessed Failed' in state.reason
    assert pods.answering(annotation(on_trial)) == on_trial.first


def test_an_operator_pauses_and_resumes_argo(on_trial: Stage) -> None:
    on_trial.verdict = "promote"
    on_trial.tell(rollouts.command("pause"))
    assert on_trial.go_on(5).weight == 0.1
    on_trial.tell(rollouts.command("resume"))

    assert on_trial.go_on(3).weight == 0.5


def test_an_operator_aborts(on_trial: Stage) -> None:
    on_trial.tell(rollouts.command("abort"))

    assert on_trial.go_on(3).outcome == "rolled-back"
    assert answers(on_trial) == {on_trial.first}


def test_a_champion_that_decays_makes_room_for_the_one_before(on_trial: Stage) -> None:
    on_trial.tell(rollouts.command("promote"))
    assert on_trial.go_on(4).champion == on_trial.second
    on_trial.tell(rollouts.decay(on_trial.second))
    # What returns is not on trial: Argo's question is answered with yes.
    on_trial.verdict = "promote"

    state = on_trial.go_on(2)

    assert (state.champion, state.outcome) == (on_trial.first, "rolled-back")
    assert pods.answering(annotation(on_trial)) == on_trial.first


@pytest.mark.parametrize("code", [0, 429, 500, 503])
def test_a_burst_of_failures_of_the_api_changes_nothing_in_the_end(
    on_trial: Stage, code: int
) -> None:
    on_trial.tell(rollouts.command("abort"))
    on_trial.cluster.fail(*[Fault(code)] * 3)

    assert on_trial.go_on(3).outcome == "rolled-back"
    assert answers(on_trial) == {on_trial.first}


def test_a_write_of_somebody_else_in_between_is_planned_around(on_trial: Stage) -> None:
    on_trial.tell(rollouts.command("abort"))
    on_trial.cluster.fail(Fault(409, verb="patch"))
    with pytest.raises(errors.ClusterConflict):
        on_trial.go_on()

    assert on_trial.go_on(3).outcome == "rolled-back"
    assert answers(on_trial) == {on_trial.first}
