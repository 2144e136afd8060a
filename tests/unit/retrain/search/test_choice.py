from __future__ import annotations

from typing import Any

from retrain.search import choice, forecast, gauge, probes
from tests.support import searching


def entry(gain: float, drop: float | None = None, *, met: bool | None = None) -> choice.Entry:
    cost = gauge.Cost(
        dense=gain, pruned=1.0, gain=gain, low=gain, high=gain, macs=100, parameters=10
    )
    probe = None
    if drop is not None:
        probe = probes.Probe(
            score=0.9,
            control=0.9 + drop,
            drop=drop,
            low=drop,
            high=drop,
            expected=forecast.after(forecast.Loss(drop, drop, drop), 0.9 + drop, 1.0),
            worst_slice="",
            slice_drop=0.0,
            slice_low=0.0,
            surgery="",
        )
    return choice.Entry(widths={"fc": 8}, cost=cost, damage=0.0, probe=probe, met=met)


def wish(**changes: Any) -> choice.Wish:
    return searching.wish(budget=probes.Budget(drop=0.01, slice_drop=0.05), **changes)


def test_within_a_budget_the_cheapest_of_those_that_meet_it_is_chosen() -> None:
    entries = [entry(2.0, 0.0, met=True), entry(3.0, 0.01, met=True), entry(4.0, 0.02, met=False)]
    assert choice.choose(entries, wish()) == 1


def test_where_nothing_meets_the_budget_the_nearest_is_chosen() -> None:
    entries = [entry(4.0, 0.05, met=False), entry(2.0, 0.02, met=False), entry(1.5)]
    assert choice.choose(entries, wish()) == 1


def test_without_a_probe_nothing_is_chosen() -> None:
    assert choice.choose([entry(4.0), entry(2.0)], wish()) is None


def test_where_a_cost_is_asked_for_the_least_damage_that_reaches_it_is_chosen() -> None:
    entries = [entry(2.1, 0.02, met=True), entry(2.5, 0.01, met=True), entry(1.5, 0.0, met=True)]
    assert choice.choose(entries, wish(at_least=2.0)) == 1


def test_where_nothing_reaches_a_cost_the_one_that_was_probed_is_shown() -> None:
    entries = [entry(1.5, 0.0, met=True), entry(1.2)]
    assert choice.choose(entries, wish(at_least=2.0)) == 0
    assert not choice.does(entries[0], entries[0].cost, wish(at_least=2.0))
