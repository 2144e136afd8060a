"""Two Deployments behind a route: what is written next, from any world, and never unsafely."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice.routing import RoutingTable
from deploy.backends.kube import pair, pods
from deploy.backends.kube.pair import Note, Say, Scale, Share, Side, Wait, World

A, B = "m:a", "m:b"
ALONE = RoutingTable(generation=1, model="m", champion=A)
SHADOW = RoutingTable(generation=2, model="m", champion=A, candidate=B, mirror=1.0)
TENTH = RoutingTable(generation=3, model="m", champion=A, candidate=B, weight=0.1, mirror=1.0)
ABORTED = RoutingTable(generation=4, model="m", champion=A)
PROMOTED = RoutingTable(generation=4, model="m", champion=B, previous=A)

STABLE = Side(A, 2, current=True, available=2)
AWAY = Side(None, 0, current=True, available=0)
READY = Side(B, 2, current=True, available=2)
STARTING = Side(B, 2, current=False, available=0)


def world(
    table: RoutingTable | None = ALONE,
    share: float = 0.0,
    stable: Side = STABLE,
    candidate: Side = AWAY,
) -> World:
    return World(table, (share,), stable, candidate)


def test_a_true_table_needs_nothing() -> None:
    assert pair.following(world(ALONE), ALONE) is None


def test_the_first_version_is_said_to_the_stable_pods() -> None:
    written = pair.following(world(None, stable=STABLE._replace(version=None)), ALONE)
    assert isinstance(written, Say)
    assert (written.side, pods.decode(written.text)) == ("stable", ALONE)


def test_a_candidate_gets_as_many_pods_as_may_have_to_bear_all_traffic() -> None:
    written = pair.following(world(ALONE), SHADOW)
    assert isinstance(written, Say)
    assert (written.side, written.replicas, pods.answering(written.text)) == ("candidate", 2, B)


def test_a_shadow_needs_no_ready_candidate_because_the_stable_pods_mirror() -> None:
    assert pair.following(world(ALONE, candidate=STARTING), SHADOW) == Note()


def test_a_candidate_gets_traffic_once_all_its_pods_are_ready() -> None:
    assert isinstance(pair.following(world(SHADOW, candidate=STARTING), TENTH), Wait)
    half = READY._replace(available=1)
    assert isinstance(pair.following(world(SHADOW, candidate=half), TENTH), Wait)
    assert pair.following(world(SHADOW, candidate=READY), TENTH) == Share(0.1)


def test_the_table_is_noted_when_the_weights_are_there() -> None:
    assert pair.following(world(SHADOW, 0.1, candidate=READY), TENTH) == Note()


def test_an_abort_takes_the_weight_first_and_one_ready_stable_pod_will_do() -> None:
    hurt = STABLE._replace(available=1)
    assert pair.following(world(TENTH, 0.1, hurt, READY), ABORTED) == Share(0.0)


def test_an_aborted_candidates_pods_are_put_away_before_the_table_says_so() -> None:
    assert pair.following(world(TENTH, 0.0, STABLE, READY), ABORTED) == Scale(0)
    assert pair.following(world(TENTH, 0.0, STABLE, AWAY), ABORTED) == Note()


def test_a_promotion_lets_the_candidates_pods_bear_all_before_the_stable_ones_change() -> None:
    assert pair.following(world(TENTH, 0.1, STABLE, READY), PROMOTED) == Share(1.0)
    told = pair.following(world(TENTH, 1.0, STABLE, READY), PROMOTED)
    assert isinstance(told, Say)
    assert (told.side, pods.answering(told.text)) == ("stable", B)


def test_a_promotion_waits_for_all_new_stable_pods() -> None:
    half = READY._replace(available=1)
    assert isinstance(pair.following(world(TENTH, 1.0, half, READY), PROMOTED), Wait)
    assert pair.following(world(TENTH, 1.0, READY, READY), PROMOTED) == Share(0.0)
    assert pair.following(world(TENTH, 0.0, READY, READY), PROMOTED) == Scale(0)
    assert pair.following(world(TENTH, 0.0, READY, AWAY), PROMOTED) == Note()


def test_a_verdict_that_turns_in_the_middle_of_a_promotion_goes_back_without_a_gap() -> None:
    # The stable pods bear nothing by then: they may change at once, and get traffic when ready.
    told = pair.following(world(TENTH, 1.0, READY, READY), ABORTED)
    assert isinstance(told, Say)
    assert (told.side, pods.answering(told.text)) == ("stable", A)
    rolling = STABLE._replace(current=False)
    assert isinstance(pair.following(world(TENTH, 1.0, rolling, READY), ABORTED), Wait)
    assert pair.following(world(TENTH, 1.0, STABLE, READY), ABORTED) == Share(0.0)


def test_another_candidate_takes_the_pods_only_when_they_bear_nothing() -> None:
    other = READY._replace(version="m:c")
    assert pair.following(world(TENTH, 0.1, STABLE, other), TENTH) == Share(0.0)


def test_rules_that_disagree_are_brought_into_line() -> None:
    uneven = World(TENTH, (0.1, 0.0), STABLE, READY)
    assert pair.following(uneven, TENTH) == Share(0.1)


def test_more_stable_pods_ask_for_more_candidates() -> None:
    grown = STABLE._replace(replicas=5, available=5)
    assert pair.following(world(TENTH, 0.1, grown, READY), TENTH) == Scale(5)


@pytest.mark.parametrize(
    ("status", "current"),
    [
        ({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2}, True),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}, False),
        ({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 2}, False),
        ({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 1}, False),
        ({}, False),
    ],
    ids=["rolled", "status of before", "old pods are left", "new pods are missing", "no status"],
)
def test_a_side_is_current_when_all_its_pods_are_of_its_template(
    status: dict[str, int], *, current: bool
) -> None:
    deployment = {"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": status}
    assert pair.side_of(deployment, pods.encode(ALONE)).current == current


def test_while_there_is_a_candidate_both_sides_mirror_and_none_splits() -> None:
    stable, candidate = pair.tell(TENTH, A), pair.tell(TENTH, B)
    assert stable is not None
    assert candidate is not None
    assert (stable.candidate, stable.weight, stable.mirror) == (B, 0.0, 1.0)
    assert (candidate.candidate, candidate.weight, candidate.mirror) == (B, 1.0, 1.0)
    assert pair.tell(TENTH, "m:z") is None


SIDES = st.builds(
    Side,
    version=st.sampled_from([A, B, None]),
    replicas=st.integers(0, 2),
    current=st.booleans(),
    available=st.integers(0, 2),
)
WORLDS = st.builds(
    World,
    table=st.sampled_from([None, ALONE, SHADOW, TENTH]),
    shares=st.sampled_from([(0.0,), (0.1,), (1.0,)]),
    stable=SIDES,
    candidate=SIDES,
)
TABLES = st.sampled_from([ABORTED, PROMOTED, SHADOW, TENTH])


def safe(found: World, written: pair.Write | None) -> bool:
    """Say whether a write gives traffic to pods that bear it, and takes no pod that does."""
    match written:
        case Share(share) if share > found.share:
            return found.candidate.ready
        case Share():
            return found.stable.bears
        case Say("candidate") | Scale(0):
            return found.share == 0.0
        case Say("stable"):
            return found.stable.version is None or min(found.shares) == 1.0
        case _:
            return True


@given(WORLDS, TABLES)
def test_from_no_world_an_unsafe_write_is_made(found: World, table: RoutingTable) -> None:
    assert safe(found, pair.following(found, table))


def after(found: World, written: pair.Write | None, table: RoutingTable) -> World:
    """Return the world after a write, and after its pods became ready."""
    match written:
        case Say("stable", text):
            ready = Side(pods.answering(text), 2, current=True, available=2)
            return found._replace(stable=ready)
        case Say("candidate", text, replicas):
            count = replicas or 0
            return found._replace(
                candidate=Side(pods.answering(text), count, current=True, available=count)
            )
        case Scale(count):
            side = found.candidate._replace(replicas=count, current=True, available=count)
            return found._replace(candidate=side)
        case Share(share):
            return found._replace(shares=(share,))
        case Note():
            return found._replace(table=table)
        case _:
            ready = found.stable._replace(replicas=2, current=True, available=2)
            other = found.candidate
            return found._replace(
                stable=ready, candidate=other._replace(current=True, available=other.replicas)
            )


def longest(found: World, table: RoutingTable, writes: int) -> World:
    """Return the world after so many writes."""
    for _ in range(writes):
        found = after(found, pair.following(found, table), table)
    return found


@given(WORLDS, TABLES)
def test_every_world_comes_to_what_the_table_asks_for(found: World, table: RoutingTable) -> None:
    # At most: give back, say, wait, share, say, wait, share, scale, note; and once more to be sure.
    end = longest(found, table, 12)

    assert pair.following(end, table) is None
    assert (end.table, end.stable.version) == (table, table.champion)
    assert end.shares == (table.weight,)
