from __future__ import annotations

import numpy as np
import pytest

from retrain.pruning import groups, recipe
from retrain.search import widths


def group(name: str, units: int, producers: int = 1, width: int = 1) -> groups.CoupledGroup:
    axes = tuple(
        groups.Axis(f"{name}.{number}.out_channels", None, tuple(range(units)))
        for number in range(producers)
    )
    return groups.CoupledGroup(name, units, axes, width=width)


def names(families: tuple[widths.Family, ...]) -> list[list[str]]:
    return [[each.name for each in family.groups] for family in families]


def test_counts_are_one_or_three_times_a_power_of_two_of_the_step_and_whole() -> None:
    # Steps of 8: 8 16 32 64, and 24 48 96; 100 itself is whole.
    assert widths.counts(group("fc", 100), 8) == (8, 16, 24, 32, 48, 64, 96, 100)
    assert widths.counts(group("fc", 24), 8) == (8, 16, 24)


def test_a_unit_of_several_channels_needs_fewer_units_for_a_step() -> None:
    # 4 channels a unit: 2 units make a step of 8 channels.
    assert widths.counts(group("grouped", 16, width=4), 8) == (2, 4, 6, 8, 12, 16)


def test_a_group_narrower_than_a_step_is_in_no_family() -> None:
    assert names(widths.families([group("thin", 6), group("wide", 32)], 8)) == [["wide"]]


def test_few_groups_are_a_family_each() -> None:
    coupled = [group("a", 32), group("b", 32), group("c", 64)]
    assert names(widths.families(coupled, 8)) == [["a"], ["b"], ["c"]]


def test_more_groups_than_families_go_together_by_size_and_whether_they_are_shared() -> None:
    coupled = [group("stream", 32, producers=3), group("a", 32), group("b", 32), group("c", 64)]
    assert names(widths.families(coupled, 8, most=3)) == [["stream"], ["a", "b"], ["c"]]


def test_still_more_go_together_by_size_alone() -> None:
    coupled = [group("stream", 32, producers=3), group("a", 32), group("b", 32), group("c", 64)]
    assert names(widths.families(coupled, 8, most=2)) == [["stream", "a", "b"], ["c"]]


def test_at_last_neighbours_in_size_go_together_and_keep_the_same_share() -> None:
    coupled = [group("a", 16), group("b", 32), group("c", 64), group("d", 128)]
    first, second = widths.families(coupled, 8, most=2)
    assert names((first, second)) == [["b", "a"], ["d", "c"]]
    # b keeps 8 of 32, a quarter; a quarter of 16 is 4, which is half a step and goes up to 8.
    assert first.levels[0] == (8, 8)
    assert first.levels[1] == (16, 8)
    assert first.levels[-1] == (32, 16)


def test_a_recipe_with_the_amounts_of_widths_leaves_these_widths() -> None:
    coupled = [group("a", 100), group("b", 96)]
    amounts = widths.amounts(coupled, {"a": 24, "b": 32})
    step = recipe.Step(amount=0.0, amounts=amounts)
    left = [groups.kept_count(g.units, step.share(g.name), align=8) for g in coupled]
    assert left == [24, 32]


def test_every_combination_is_there_and_the_last_keeps_everything() -> None:
    families = widths.families([group("a", 24), group("b", 32)], 8)
    every = widths.combinations(families)
    assert len(every) == 3 * 4  # 8 16 24, and 8 16 24 32
    assert widths.chosen(families, every[-1]) == {"a": 24, "b": 32}
    assert widths.chosen(families, every[0]) == {"a": 8, "b": 8}


def test_too_many_combinations_are_thinned_in_the_longest_family_and_whole_stays() -> None:
    families = widths.families([group("a", 24), group("b", 32)], 8)
    # 3 x 4 = 12 is above 8, so of b's four levels every second one from whole down stays: 16, 32.
    every = widths.combinations(families, most=8)
    assert sorted({place[1] for place in every}) == [1, 3]
    assert len(every) == 6


def test_of_about_the_same_cost_the_mildest_stay() -> None:
    # Two bins of the logarithm of 1..4, parted at 2: {1.0, 1.1} and {4.0}.
    cost, damage = np.array([1.0, 1.1, 4.0]), np.array([0.5, 0.4, 0.1])
    assert widths.thinned(cost, damage, most=2, each=1) == [1, 2]


def test_the_mildest_of_every_kind_stays_before_the_second_of_any() -> None:
    cost, damage = np.ones(4), np.array([0.1, 0.2, 0.3, 0.9])
    kinds = np.array([0, 0, 0, 1])
    assert widths.thinned(cost, damage, most=2, each=2, kinds=kinds) == [0, 3]
    assert widths.thinned(cost, damage, most=3, each=3, kinds=kinds) == [0, 3, 1]


def test_thinning_takes_all_where_there_are_few_and_repeats_itself() -> None:
    cost, damage = np.array([1.0, 2.0, 4.0]), np.array([0.3, 0.2, 0.1])
    first = widths.thinned(cost, damage, most=9, each=3)
    assert sorted(first) == [0, 1, 2]
    assert widths.thinned(cost, damage, most=9, each=3) == first


def test_the_start_of_the_thinned_list_covers_all_costs() -> None:
    # One of each bin before a second of any: five bins, ends first, then halves.
    cost = 2.0 ** np.arange(5)
    found = widths.thinned(cost, np.zeros(5), most=5, each=1)
    assert found == [0, 4, 2, 1, 3]


def test_equal_costs_are_one_bin() -> None:
    assert widths.thinned(np.ones(3), np.array([0.2, 0.1, 0.3]), most=2, each=2) == [1, 0]


@pytest.mark.parametrize(("most", "left"), [(1, 1), (2, 2), (50, 5)])
def test_no_more_stay_than_are_asked_for(most: int, left: int) -> None:
    found = widths.thinned(2.0 ** np.arange(5), np.zeros(5), most=most)
    assert len(found) == left
