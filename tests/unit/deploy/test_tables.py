from __future__ import annotations

import msgspec
import pytest

from coppice import records, routing
from deploy import tables
from deploy.policy import Policy
from tests.support import rollouts
from tests.support.rollouts import PARENT, PARENTS, A, B, D

POLICY = Policy(mirror=0.8, parent_mirror=0.05)


def of(state: records.Rollout) -> routing.RoutingTable:
    return tables.table_of(state, PARENTS, POLICY)


def test_in_shadow_the_candidate_has_copies_and_no_weight() -> None:
    table = of(rollouts.shadow())
    assert (table.candidate, table.weight, table.mirror) == (B, 0.0, 0.8)


def test_in_canary_it_has_both() -> None:
    table = of(rollouts.canary(0.25))
    assert (table.candidate, table.weight, table.mirror) == (B, 0.25, 0.8)


def test_without_a_candidate_nothing_is_mirrored_to_it() -> None:
    assert of(rollouts.state()).mirror == 0.0


def test_while_watched_the_previous_champion_stays_loaded() -> None:
    assert of(rollouts.watch()).previous == A


def test_once_settled_it_does_not() -> None:
    assert of(rollouts.state(champion=B, previous=A)).previous is None


def test_the_parent_is_the_champions_and_not_the_candidates() -> None:
    table = tables.table_of(rollouts.shadow(), {A: PARENT, B: "tiny:other"}, POLICY)
    assert (table.parent, table.parent_mirror) == (PARENT, 0.05)


def test_a_dense_champion_has_no_parent_to_ask() -> None:
    table = of(rollouts.state(champion=D))
    assert (table.parent, table.parent_mirror) == (None, 0.0)


def test_tables_that_differ_in_their_generation_alone_route_alike() -> None:
    assert tables.same(rollouts.table(1), rollouts.table(9))


@pytest.mark.parametrize(
    "change", [{"champion": B}, {"candidate": B}, {"mirror": 0.1}, {"previous": B}]
)
def test_any_other_difference_counts(change: dict[str, object]) -> None:
    changed = msgspec.structs.replace(rollouts.table(1), **change)
    assert not tables.same(rollouts.table(1), changed)


def test_no_table_is_like_no_table_and_like_nothing_else() -> None:
    assert tables.same(None, None)
    assert not tables.same(None, rollouts.table(1))
