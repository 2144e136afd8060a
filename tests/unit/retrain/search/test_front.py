from __future__ import annotations

import pytest

from retrain.search import front
from retrain.search.front import Point


def test_a_point_that_another_beats_in_both_is_not_on_the_front() -> None:
    beaten = Point(2, 1.4, 0.2)
    line = front.pareto([Point(0, 2.0, 0.3), Point(1, 1.5, 0.1), beaten, Point(3, 3.0, 0.9)])
    assert [point.number for point in line] == [1, 0, 3]


def test_a_point_that_is_no_better_than_dense_is_not_on_the_front() -> None:
    assert front.pareto([Point(0, 0.8, 0.0), Point(1, 1.01, 0.0)]) == []


def test_gains_that_differ_by_less_than_the_noise_of_a_clock_are_one_point() -> None:
    # 2.03 is 1.5% above 2.0, less than the step of 2%; 2.05 is 2.5% above.
    assert [p.number for p in front.pareto([Point(0, 2.0, 0.1), Point(1, 2.03, 0.2)])] == [0]
    assert [p.number for p in front.pareto([Point(0, 2.0, 0.1), Point(1, 2.05, 0.2)])] == [0, 1]


def test_of_two_points_with_the_same_damage_the_better_one_is_on_the_front() -> None:
    assert [p.number for p in front.pareto([Point(0, 2.0, 0.1), Point(1, 3.0, 0.1)])] == [1]


def test_halving_starts_in_the_middle() -> None:
    # Nothing is known: between -1 and 9 lies (-1 + 9) // 2 = 4.
    assert front.next_probe({}, 9) == 4


def test_halving_goes_towards_dense_after_a_miss_and_away_from_it_after_a_hit() -> None:
    assert front.next_probe({4: False}, 9) == 1  # between -1 and 4
    assert front.next_probe({4: True}, 9) == 6  # between 4 and 9


def test_one_place_beyond_the_first_failure_is_probed_before_it_is_believed() -> None:
    known = {4: True, 6: False, 5: False}
    assert front.next_probe(known, 9) is None  # 5 failed, and 6 beyond it failed before
    assert front.next_probe({4: True, 5: False}, 9) == 6


def test_a_success_beyond_a_failure_is_followed_further() -> None:
    # 5 failed but 6 met it: damage is not monotone here, so the rest above 6 is halved.
    assert front.next_probe({4: True, 5: False, 6: True}, 9) == 7
    assert front.next_probe({4: True, 5: False, 6: True, 7: False}, 9) == 8
    assert front.next_probe({4: True, 5: False, 6: True, 7: False, 8: False}, 9) is None


def test_where_the_last_place_meets_the_budget_nothing_is_left_to_probe() -> None:
    assert front.next_probe({4: True, 6: True, 7: True, 8: True}, 9) is None


def test_where_even_the_mildest_place_fails_its_neighbour_is_tried_and_then_it_ends() -> None:
    assert front.next_probe({4: False, 1: False}, 9) == 0
    assert front.next_probe({4: False, 1: False, 0: False}, 9) is None
    assert front.next_probe({1: False, 0: False}, 2) is None


def test_a_front_of_one_or_no_point() -> None:
    assert front.next_probe({}, 0) is None
    assert front.next_probe({}, 1) == 0
    assert front.next_probe({0: False}, 1) is None


def test_points_that_reach_a_gain_come_with_the_least_damage_first() -> None:
    points = [Point(0, 2.0, 0.5), Point(1, 1.9, 0.1), Point(2, 2.5, 0.2), Point(3, 2.2, 0.2)]
    assert [point.number for point in front.reaching(points, 2.0)] == [2, 3, 0]
    assert front.reaching(points, 4.0) == []


def test_of_every_kind_the_mildest_comes_before_the_second_of_any() -> None:
    points = [Point(0, 2.0, 0.1), Point(1, 2.0, 0.2), Point(2, 2.0, 0.9, kind=1)]
    assert [point.number for point in front.reaching(points, 2.0)] == [0, 2, 1]
    assert [point.number for point in front.reaching(points, 2.0, most=2)] == [0, 2]


def numbers(rungs: list[tuple[Point, ...]]) -> list[list[int]]:
    return [[point.number for point in rung] for rung in rungs]


def test_a_ladder_goes_by_equal_factors_to_the_highest_gain() -> None:
    points = [Point(0, 1.5, 0.1), Point(1, 2.1, 0.2), Point(2, 4.0, 0.4)]
    # Down from 4 by factors of 2: 4, 2, and 1.02, which is the least.
    assert numbers(front.ladder(points, rung=2.0)) == [[0], [1], [2]]


def test_a_rung_holds_the_mildest_point_of_every_kind_that_reaches_it() -> None:
    points = [
        Point(0, 2.0, 0.3),
        Point(1, 2.2, 0.1),
        Point(2, 2.4, 0.2, kind=1),
        Point(3, 1.9, 0.0, kind=2),
    ]
    # 2.4 is only reached by 2; 1.2 below it, 2.0 by 1 and 2; and 1.67 by 3, too.
    assert numbers(front.ladder(points, rung=1.2))[-3:] == [[3, 1, 2], [1, 2], [2]]


def test_of_many_kinds_those_are_taken_that_are_predicted_to_do_least() -> None:
    points = [Point(kind, 2.0, 0.1 * kind, kind=kind) for kind in range(5)]
    assert numbers(front.ladder(points)) == [[0, 1, 2]]
    assert numbers(front.ladder(points, most=1)) == [[0]]


def test_the_same_points_are_one_rung() -> None:
    assert numbers(front.ladder([Point(0, 30.0, 0.5)])) == [[0]]


def test_where_nothing_is_better_than_dense_there_is_no_ladder() -> None:
    assert front.ladder([Point(0, 1.01, 0.0)]) == []
    assert front.ladder([]) == []


def test_damage_between_two_counts_lies_on_the_line_between_them() -> None:
    known = {8: 0.4, 24: 0.1}
    assert front.interpolated(known, 16, 32) == pytest.approx(0.25)  # half way from 24 to 8
    assert front.interpolated(known, 28, 32) == pytest.approx(0.05)  # half way from whole to 24
    assert front.interpolated(known, 32, 32) == 0.0


def test_below_the_narrowest_count_that_was_measured_damage_stays_as_it_was_there() -> None:
    assert front.interpolated({8: 0.4, 24: 0.1}, 4, 32) == pytest.approx(0.4)


def test_damage_that_falls_as_less_stays_is_noise_and_is_levelled() -> None:
    # 0.6 at 24 units, so 8 units cannot do less harm than 0.6.
    assert front.interpolated({8: 0.4, 24: 0.6}, 8, 32) == pytest.approx(0.6)


def test_a_cut_that_helps_counts_as_no_damage() -> None:
    assert front.interpolated({8: -0.3}, 8, 32) == 0.0
