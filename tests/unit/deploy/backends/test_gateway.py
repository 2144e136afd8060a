from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coppice import errors
from coppice.routing import RoutingTable
from deploy.backends import gateway
from deploy.backends.gateway import Names
from tests.support import clusters, kubelet
from tests.support.clusters import Stage
from tests.support.rollouts import MODEL, A, B

ALONE = RoutingTable(generation=1, model=MODEL, champion=A)
SHADOW = RoutingTable(generation=2, model=MODEL, champion=A, candidate=B, mirror=1.0)
HALF = RoutingTable(generation=3, model=MODEL, champion=A, candidate=B, weight=0.5, mirror=1.0)
NAMES = Names(MODEL, MODEL, f"{MODEL}-candidate")
KEY = kubelet.ROUTES._replace(name=MODEL)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with clusters.running("gateway", clusters.Versions(tmp_path, A, B), tmp_path / "p") as made:
        assert not made.backend.apply(ALONE)
        made.tool.reconcile(2)
        assert made.backend.apply(ALONE)
        assert made.backend.apply(SHADOW)
        yield made


def weights(stage: Stage) -> list[int]:
    rules = stage.cluster.store.get(KEY)["spec"]["rules"]
    return [reference["weight"] for rule in rules for reference in rule["backendRefs"]]


def test_a_weight_waits_for_ready_pods_and_is_applied_when_asked_again(stage: Stage) -> None:
    assert not stage.backend.apply(HALF)
    assert weights(stage) == [1000, 0]
    assert stage.backend.observe().table == SHADOW

    stage.tool.reconcile(2)

    assert stage.backend.apply(HALF)
    assert weights(stage) == [500, 500]
    assert stage.backend.observe().table == HALF


def test_pods_that_never_become_ready_get_no_traffic(stage: Stage) -> None:
    stage.tool.broken = B
    stage.tool.reconcile(5)

    assert not stage.backend.apply(HALF)
    assert weights(stage) == [1000, 0]
    assert stage.backend.abort("it does not start").table is not None
    assert stage.answers() == {A, B}
    stage.tool.reconcile()
    assert stage.answers() == {A}


def test_in_shadow_the_stable_pods_mirror_to_the_candidate_that_they_load(stage: Stage) -> None:
    told = [
        stage.routes_by(stage.cluster.key(pod)) for pod in kubelet.pods_of(stage.cluster, MODEL)
    ]
    assert [(table.candidate, table.weight, table.mirror) for table in told] == [(B, 0.0, 1.0)] * 2


def test_what_else_the_route_says_stays(stage: Stage) -> None:
    other = {"backendRefs": [{"name": "other", "port": 80, "weight": 7}]}
    stage.cluster.store.update(
        KEY, lambda now: {**now, "spec": {"rules": [*now["spec"]["rules"], other]}}
    )
    stage.tool.reconcile(2)

    assert stage.backend.apply(HALF)

    rules = stage.cluster.store.get(KEY)["spec"]["rules"]
    assert rules[1] == other
    assert [reference["port"] for reference in rules[0]["backendRefs"]] == [80, 80]


def test_somebody_who_writes_the_route_in_between_is_not_written_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.tool.reconcile(2)
    weighed = gateway.weighed

    def meanwhile(*arguments: Any) -> Any:
        stage.cluster.store.update(KEY, labelled)
        return weighed(*arguments)

    monkeypatch.setattr(gateway, "weighed", meanwhile)
    with pytest.raises(errors.ClusterConflict):
        stage.backend.apply(HALF)

    assert weights(stage) == [1000, 0]


def test_weights_that_an_upgrade_of_the_chart_reset_are_put_back(stage: Stage) -> None:
    stage.tool.reconcile(2)
    assert stage.backend.apply(HALF)
    stage.cluster.store.update(KEY, lambda now: {**now, "spec": clusters.ROUTE["spec"]})
    assert weights(stage) == [1000, 0]

    stage.backend.tend()

    assert weights(stage) == [500, 500]
    assert stage.backend.observe().table == HALF


def labelled(route: dict[str, Any]) -> dict[str, Any]:
    return {**route, "metadata": {**route["metadata"], "labels": {"by": "somebody"}}}


def route(*references: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(clusters.ROUTE)
    changed["spec"]["rules"] = [{"backendRefs": list(references)}]
    return changed


def test_every_rule_that_sends_to_both_is_weighed() -> None:
    both = copy.deepcopy(clusters.ROUTE)
    both["spec"]["rules"] += copy.deepcopy(both["spec"]["rules"])

    rules = gateway.weighed(both, NAMES, 0.25)

    found = [[reference["weight"] for reference in rule["backendRefs"]] for rule in rules]
    assert found == [[750, 250], [750, 250]]


def test_a_weight_that_is_not_given_is_one() -> None:
    even = route({"name": MODEL}, {"name": NAMES.candidate})
    assert gateway.shares(even, NAMES) == (0.5,)


def test_no_weight_at_all_is_no_share() -> None:
    none = route({"name": MODEL, "weight": 0}, {"name": NAMES.candidate, "weight": 0})
    assert gateway.shares(none, NAMES) == (0.0,)


def test_a_route_without_both_services_says_what_is_missing() -> None:
    with pytest.raises(errors.ClusterProblem, match=f"both {MODEL} and {NAMES.candidate}"):
        gateway.shares(route({"name": MODEL}), NAMES)
