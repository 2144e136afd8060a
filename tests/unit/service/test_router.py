"""Lanes and mirrors as functions of hashes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice import errors, routing
from service import router

KEYS = [f"key-{number}" for number in range(4000)]
shares = st.floats(0.0, 1.0)


def table(**fields: object) -> routing.RoutingTable:
    whole = {"model": "m", "champion": "m:1", "candidate": "m:2", **fields}
    return msgspec.convert(whole, routing.RoutingTable)


def lanes(weight: float, **fields: object) -> list[str]:
    chosen = table(weight=weight, **fields)
    return [router.choose(chosen, key, secret="s").lane for key in KEYS]


def share(lane: str, found: list[str]) -> float:
    return found.count(lane) / len(found)


@given(st.text(), shares, shares)
def test_a_key_stays_on_the_canary_lane_as_the_weight_grows(
    key: str, one: float, other: float
) -> None:
    less, more = sorted([one, other])
    before = router.choose(table(weight=less), key, secret="s").lane
    after = router.choose(table(weight=more), key, secret="s").lane
    assert (before, after) != ("canary", "stable")


def test_the_share_of_the_canary_lane_is_the_weight() -> None:
    # Binomial with n = 4000 and p = 0.3 has a standard deviation of 0.0072: four of them are 0.029.
    assert share("canary", lanes(0.3)) == pytest.approx(0.3, abs=0.029)


def test_another_candidate_draws_other_keys() -> None:
    first, second = lanes(0.5), lanes(0.5, candidate="m:3")
    same = sum(one == other for one, other in zip(first, second, strict=True)) / len(KEYS)
    # Independent fair draws agree in half of the cases; four standard deviations are 0.032.
    assert same == pytest.approx(0.5, abs=0.032)


def test_another_secret_draws_other_keys() -> None:
    chosen = table(weight=0.5)
    first = [router.choose(chosen, key, secret="a").lane for key in KEYS]
    second = [router.choose(chosen, key, secret="b").lane for key in KEYS]
    assert first != second


@pytest.mark.parametrize(("weight", "lane"), [(0.0, "stable"), (1.0, "canary")])
def test_the_ends_of_the_weight_leave_nothing_to_chance(weight: float, lane: str) -> None:
    assert share(lane, lanes(weight)) == 1.0


@given(st.text(), shares)
def test_the_propensity_is_that_of_the_lane_chosen(key: str, weight: float) -> None:
    choice = router.choose(table(weight=weight), key, secret="s")
    assert choice.propensity == {"canary": weight, "stable": 1.0 - weight}[choice.lane]


def test_a_lane_that_is_shut_leaves_everything_to_stable() -> None:
    choice = router.choose(table(weight=1.0), "ann", secret="s", open_=False)
    assert choice == router.STABLE


def test_without_a_candidate_stable_answers() -> None:
    alone = routing.RoutingTable(model="m", champion="m:1")
    assert router.choose(alone, "ann", secret="s") == router.STABLE


def test_a_forced_lane_is_taken_where_the_settings_allow_it() -> None:
    assert router.forced("canary", allowed=True, open_=True) == ("canary", 1.0)
    assert router.forced("stable", allowed=True, open_=False) == ("stable", 1.0)


def test_a_forced_lane_is_refused_where_the_settings_do_not_allow_it() -> None:
    with pytest.raises(errors.RequestError, match="allow_forced_lane"):
        router.forced("canary", allowed=False, open_=True)


def test_a_forced_lane_that_does_not_exist_is_refused() -> None:
    with pytest.raises(errors.RequestError, match="the lanes are stable and canary"):
        router.forced("shadow", allowed=True, open_=True)


def test_a_forced_canary_that_is_shut_is_not_ready() -> None:
    with pytest.raises(errors.NotReady):
        router.forced("canary", allowed=True, open_=False)


def test_mirroring_does_not_depend_on_the_lane() -> None:
    chosen = table(weight=0.5, mirror=0.5)
    on_canary = np.array([router.choose(chosen, k, secret="s").lane == "canary" for k in KEYS])
    mirrored = np.array([router.mirrors(chosen, k, secret="s").pair for k in KEYS])
    # The key is the request id here, the worst case; independent draws correlate by chance with
    # a standard deviation of 1 / sqrt(4000) = 0.016.
    assert abs(np.corrcoef(on_canary, mirrored)[0, 1]) < 4 * 0.016


def test_the_parent_sees_its_own_share() -> None:
    chosen = table(mirror=0.5, parent="m:0", parent_mirror=0.2)
    found = [router.mirrors(chosen, key, secret="s") for key in KEYS]
    # Four standard deviations: 0.032 and 0.025.
    assert sum(mirror.pair for mirror in found) / len(KEYS) == pytest.approx(0.5, abs=0.032)
    assert sum(mirror.parent for mirror in found) / len(KEYS) == pytest.approx(0.2, abs=0.026)


def test_nobody_is_mirrored_to_where_there_is_nobody() -> None:
    alone = routing.RoutingTable(model="m", champion="m:1", mirror=1.0, parent_mirror=1.0)
    assert router.mirrors(alone, "r1", secret="s") is router.NOWHERE


def test_the_hash_of_a_key_does_not_tell_the_key() -> None:
    assert router.key_hash("ann", secret="a") == router.key_hash("ann", secret="a")
    assert router.key_hash("ann", secret="a") != router.key_hash("ann", secret="b")
    assert "ann" not in router.key_hash("ann", secret="a")
