from __future__ import annotations

import pytest
import torch

from retrain.pruning import allocation, groups, recipe

A, B = (groups.CoupledGroup(name, 16, ()) for name in ("a", "b"))
LOW, HIGH = torch.arange(16.0), 100.0 + torch.arange(16.0)


def test_every_group_loses_its_own_amount() -> None:
    step = recipe.Step(amount=0.5, amounts={"b": 0.25}, align=1)
    assert allocation.everywhere([A, B], step, 1.0, {}) == [8, 12]


def test_an_amount_that_is_due_in_parts_counts_from_the_first_cut() -> None:
    # Of 32 units half of one half is due: 24 stay, but only 16 are left.
    step = recipe.Step(amount=0.5, align=1)
    assert allocation.everywhere([A], step, 0.5, {"a": 32}) == [16]
    # All of it: 16 of 32.
    assert allocation.everywhere([A], step, 1.0, {"a": 32}) == [16]
    # Three quarters of 32: 8 stay.
    assert allocation.everywhere([A], recipe.Step(amount=0.75, align=1), 1.0, {"a": 32}) == [8]


@pytest.mark.parametrize(
    ("amount", "counts"),
    [
        (0.25, [8, 16]),  # 8 of 32 go, the 8 lowest, all of the first group
        (0.5, [1, 16]),  # 16 go: the first group would be empty, but keeps one
        (0.75, [1, 8]),
    ],
)
def test_the_lowest_of_all_groups_go_first(amount: float, counts: list[int]) -> None:
    step = recipe.Step(amount=amount, align=1)
    assert allocation.across([A, B], [LOW, HIGH], step, 1.0, {}) == counts


def test_across_groups_counts_stay_aligned() -> None:
    # 10 of 32 go, so 6 of the first group's 16 would stay: nearest to 8.
    step = recipe.Step(amount=10 / 32, align=8)
    assert allocation.across([A, B], [LOW, HIGH], step, 1.0, {}) == [8, 16]


def test_across_groups_a_wide_unit_counts_as_its_channels() -> None:
    wide = groups.CoupledGroup("wide", 4, (), width=4)
    # Of 16 + 4 * 4 = 32 channels 16 go: the four units of four channels, but one must stay.
    step = recipe.Step(amount=0.5, align=1)
    found = allocation.across([A, wide], [HIGH, torch.arange(4.0)], step, 1.0, {})
    assert found == [16, 1]


def test_a_group_that_the_step_names_is_out_of_the_comparison() -> None:
    step = recipe.Step(amount=0.25, amounts={"a": 0.0}, align=1)
    # Of the 16 units of b alone a quarter goes.
    assert allocation.across([A, B], [LOW, HIGH], step, 1.0, {}) == [16, 12]


def test_where_the_step_names_all_groups_nothing_is_compared() -> None:
    step = recipe.Step(amounts={"a": 0.5, "b": 0.25}, align=1)
    assert allocation.across([A, B], [LOW, HIGH], step, 1.0, {}) == [8, 12]


def test_allotted_shares_hold_for_what_a_group_has_now() -> None:
    step = recipe.Step(amounts={"b": 0.5}, align=1)
    assert allocation.allotted([A, B], [0.25, 0.9], step, 1.0, {"a": 100}) == [12, 8]


@pytest.mark.parametrize(
    ("due", "left"),
    [
        (1.0, 0.0),  # half of 64 is gone already
        (0.5, 0.0),  # more than is due is gone
    ],
)
def test_nothing_is_left_of_an_amount_that_has_gone(due: float, left: float) -> None:
    before = {"a": 32, "b": 32}
    assert allocation.amount_left([A, B], recipe.Step(amount=0.5), due, before) == left


def test_what_is_left_of_an_amount_is_a_share_of_what_is_there() -> None:
    # 64 units, three quarters to go: 16 stay of the 32 that there are.
    before = {"a": 32, "b": 32}
    assert allocation.amount_left([A, B], recipe.Step(amount=0.75), 1.0, before) == 0.5


def test_without_groups_nothing_is_left() -> None:
    assert allocation.amount_left([], recipe.Step(), 1.0, {}) == 0.0
