from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrain.pruning import groups

TWO = groups.CoupledGroup(
    "a",
    2,
    (
        groups.Axis("a.weight", 0, (0, 1)),
        groups.Axis("b.weight", 1, (0, 0, 1, 1, groups.NOBODY)),
        groups.Axis("a.out_features", None, (0, 1)),
    ),
)


def test_a_unit_sums_all_that_it_owns_along_every_axis() -> None:
    values = {
        "a.weight": torch.tensor([[1.0, 2.0], [10.0, 20.0]]),
        "b.weight": torch.tensor([[1.0, 1.0, 5.0, 5.0, 99.0]]),
    }
    # Unit 0: 1 + 2 of a's row 0, 1 + 1 of b's columns 0 and 1. Unit 1: 30 and 10. 99 is nobody's.
    assert groups.per_unit(TWO, values).tolist() == [5.0, 40.0]


def test_tensors_that_are_not_given_count_nothing() -> None:
    assert groups.per_unit(TWO, {"a.weight": torch.ones(2, 3)}).tolist() == [3.0, 3.0]


def test_a_vector_counts_entry_by_entry() -> None:
    group = groups.CoupledGroup("n", 2, (groups.Axis("n.weight", 0, (1, 0)),))
    assert groups.per_unit(group, {"n.weight": torch.tensor([3.0, 4.0])}).tolist() == [4.0, 3.0]


def test_sums_are_made_in_double_precision() -> None:
    # In float32, 1e8 + 1 is 1e8.
    group = groups.CoupledGroup("n", 1, (groups.Axis("n.weight", 0, (0, 0)),))
    values = {"n.weight": torch.tensor([1e8, 1.0])}
    assert groups.per_unit(group, values).tolist() == [100_000_001.0]


@pytest.mark.parametrize(
    ("units", "amount", "align", "kept"),
    [
        (32, 0.5, 8, 16),
        (32, 0.0, 8, 32),
        (32, 0.99, 8, 8),  # never less than one step
        (24, 0.5, 8, 16),  # 12 lies between 8 and 16; ties go up
        (20, 0.5, 8, 8),  # 10 is nearer to 8
        (30, 0.1, 8, 24),  # 27 is nearer to 24 than to 32
        (30, 0.05, 8, 30),  # 28.5 is nearest to 32, but there are only 30
        (7, 0.5, 8, 7),  # smaller than one step
        (96, 2 / 3, 1, 32),  # a float of 2/3 must not give 31
        (10, 0.7, 1, 3),
    ],
)
def test_the_nearest_step_stays(units: int, amount: float, align: int, kept: int) -> None:
    assert groups.kept_count(units, amount, align=align) == kept


def test_as_many_stay_in_each_block() -> None:
    # Steps of lcm(4, 3) = 12; 24 * 0.5 = 12.
    assert groups.kept_count(24, 0.5, align=4, blocks=3) == 12


def test_a_unit_of_four_channels_is_aligned_to_four_by_itself() -> None:
    # 3 units are 12 channels, a multiple of 4.
    assert groups.kept_count(6, 0.5, align=4, width=4) == 3


def test_units_of_two_channels_are_aligned_in_pairs() -> None:
    # 8 channels are 4 units of two; 10 * 0.5 = 5 is nearest to 4.
    assert groups.kept_count(10, 0.5, align=8, width=2) == 4


def test_a_group_that_loses_nothing_keeps_channels_beyond_the_last_step() -> None:
    # Nearest to 18 in steps of 8 would be 16.
    assert groups.kept_count(18, 0.0, align=8) == 18


@given(
    units=st.integers(1, 300),
    amount=st.floats(0, 0.99),
    align=st.sampled_from([1, 2, 4, 8, 16]),
    blocks=st.sampled_from([1, 2, 3, 4]),
)
def test_a_count_is_whole_or_a_multiple_of_both(
    units: int, amount: float, align: int, blocks: int
) -> None:
    kept = groups.kept_count(units, amount, align=align, blocks=blocks)
    assert kept == units or (0 < kept < units and kept % align == 0 and kept % blocks == 0)


@given(units=st.integers(1, 300), amount=st.floats(0, 0.99), align=st.sampled_from([1, 4, 8]))
def test_removing_more_never_keeps_more(units: int, amount: float, align: int) -> None:
    milder = groups.kept_count(units, amount / 2, align=align)
    assert groups.kept_count(units, amount, align=align) <= milder


def test_the_best_units_stay() -> None:
    group = groups.CoupledGroup("a", 4, ())
    assert groups.choose(group, torch.tensor([0.1, 0.9, 0.5, 0.7]), keep=2) == (1, 3)


def test_ties_go_to_the_lower_index() -> None:
    assert groups.choose(groups.CoupledGroup("a", 4, ()), torch.ones(4), keep=2) == (0, 1)


def test_each_block_keeps_its_own_best() -> None:
    group = groups.CoupledGroup("a", 6, (), blocks=2)
    scores = torch.tensor([9.0, 8.0, 7.0, 1.0, 3.0, 2.0])
    assert groups.choose(group, scores, keep=4) == (0, 1, 4, 5)


def test_channels_named_together_become_one_unit() -> None:
    assert groups.merged([(0, 3), (3, 4), (1, 1)], count=5) == (0, 1, 2, 0, 0)


def test_without_classes_every_channel_is_a_unit() -> None:
    assert groups.merged([], count=3) == (0, 1, 2)
