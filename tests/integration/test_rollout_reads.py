"""What a turn of the controller reads of the cluster: the route once, where it takes no step."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deploy import backends
from deploy.loop import Controller
from tests.support import clusters, rollouts
from tests.support.clusters import Kind, Stage, Versions
from tests.support.kube_store import Key
from tests.support.rollouts import MODEL

ONE_LOOK: dict[Kind, dict[str, int]] = {
    "argo": {"get rollouts": 1},
    # The templates of the target and of the primary tell how far Flagger is.
    "flagger": {"get canaries": 1, "get deployments": 2},
    "gateway": {"get httproutes": 1},
}
LEASE = Key("coordination.k8s.io/v1", "leases", "default", f"coppice-{MODEL}")
LOOKS = pytest.mark.parametrize(("kind", "look"), ONE_LOOK.items())


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return clusters.versions(tmp_path_factory.mktemp("versions"))


def led_by_another(lease: dict[str, Any]) -> dict[str, Any]:
    return {**lease, "spec": {**lease["spec"], "holderIdentity": "another"}}


def asked(stage: Stage, controller: Controller) -> dict[str, int]:
    """Take a turn; return what it asked of the cluster, but for the lease."""
    before = Counter(stage.cluster.requests)
    controller.turn()
    return {
        what: count
        for what, count in (Counter(stage.cluster.requests) - before).items()
        if "leases" not in what
    }


@LOOKS
def test_a_turn_without_a_step_reads_the_route_once(
    kind: Kind, look: dict[str, int], versions: Versions, tmp_path: Path
) -> None:
    with clusters.running(kind, versions, tmp_path, validated=False) as stage:
        clusters.trial(stage)
        controller = stage.controller()
        # The first turn of a controller looks after stragglers as well.
        controller.turn()

        assert asked(stage, controller) == look


@LOOKS
def test_a_controller_that_does_not_lead_reads_the_route_once(
    kind: Kind, look: dict[str, int], versions: Versions, tmp_path: Path
) -> None:
    with clusters.running(kind, versions, tmp_path, validated=False) as stage:
        clusters.trial(stage)
        stage.cluster.store.update(LEASE, led_by_another)
        with contextlib.closing(backends.open_backend(stage.tree)) as backend:
            follower = dataclasses.replace(stage, backend=backend).controller()

            assert (asked(stage, follower), backend.leads()) == (look, False)


def test_what_a_step_did_is_read_back(versions: Versions, tmp_path: Path) -> None:
    with clusters.running("argo", versions, tmp_path, validated=False) as stage:
        stage.tell(rollouts.candidate(stage.first))
        controller = stage.controller()

        assert controller.turn() is not None

        view = controller.view(max_age=60.0)
        assert view is not None
        # There was no table when the turn began.
        assert view.routed is not None
        assert (view.routed.champion, view.routed.generation) == (stage.first, 1)
