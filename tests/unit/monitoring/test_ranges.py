from __future__ import annotations

import math

import numpy as np
import pytest

from monitoring import ranges
from monitoring.ranges import Ranges

NAMES = ("size", "kind", "fixed")
RATE = 0.01


def rows(count, seed):
    """A quantity, a category of three, and a column that never changes."""
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [rng.standard_normal(count), rng.integers(0, 3, count), np.full(count, 7.0)]
    )


@pytest.fixture(scope="module")
def known():
    return Ranges.of(rows(4000, seed=0), NAMES, RATE)


def test_a_window_like_the_reference_shows_nothing_unusual(known):
    found = known.look(rows(400, seed=1))
    assert (found.rows, found.missing, found.new, found.unusual) == (400, {}, {}, ())


def test_values_beyond_the_references_extremes_are_counted_on_both_sides(known):
    window = rows(400, seed=1)
    window[:3, 0], window[3:5, 0] = 99.0, -99.0
    assert known.look(window).outside == {"size": 5}


def test_a_few_wild_values_are_unusual_though_the_distribution_hardly_moves(known):
    # Chance of the 4 largest of 4,400 all in the 400: about (1/11)^4 = 7e-5, the level is
    # 0.01 / 6 = 1.7e-3; of two, (1/11)^2 = 8e-3, it is not.
    window = rows(400, seed=1)
    window[:4, 0] = 99.0
    assert known.look(window).unusual == ("size",)
    window[2:, 0] = 0.0
    assert known.look(window).unusual == ()


def test_a_new_category_is_counted_and_is_no_matter_of_range(known):
    window = rows(400, seed=1)
    window[:10, 1] = 3.0
    found = known.look(window)
    assert (found.new, found.outside, found.unusual) == ({"kind": 10}, {}, ("kind",))


def test_a_value_between_known_categories_is_new(known):
    window = rows(400, seed=1)
    window[0, 1] = 1.5
    assert known.look(window).new == {"kind": 1}


def test_a_constant_column_that_begins_to_vary_is_unusual(known):
    window = rows(400, seed=1)
    window[:50, 2] = 8.0
    found = known.look(window)
    assert (found.new, found.unusual) == ({"fixed": 50}, ("fixed",))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_missing_values_are_always_unusual(known, value):
    window = rows(400, seed=1)
    window[0, 0] = value
    found = known.look(window)
    assert (found.missing, found.outside, found.unusual) == ({"size": 1}, {}, ("size",))


def test_a_column_that_is_missing_altogether_is_named(known):
    window = rows(400, seed=1)
    window[:, 0] = math.nan
    assert known.look(window).missing == {"size": 400}


def test_an_empty_window_holds_nothing_unusual_because_it_holds_nothing(known):
    assert known.look(np.empty((0, 3))) == ranges.Violations(0)


def test_a_reference_without_a_single_finite_value_knows_no_range():
    reference = rows(100, seed=0)
    reference[:, 0] = math.nan
    found = Ranges.of(reference, NAMES, RATE).look(rows(50, seed=1))
    # No category is known, so every value is new.
    assert found.new == {"size": 50}


@pytest.mark.parametrize("reference", [np.empty((0, 3)), np.zeros((5, 2)), np.zeros(5)])
def test_a_reference_that_does_not_fit_is_refused(reference):
    with pytest.raises(ValueError, match="need rows of 3 columns"):
        Ranges.of(reference, NAMES, RATE)


def test_the_chance_of_extremes_is_exact():
    # Of 2 rows of window and 2 of reference: the largest is in the window in half of the cases,
    # the two largest both in 1 of the 6 ways to choose two of four.
    assert ranges.beyond_chance(1, 2, 2) == pytest.approx(1 / 2)
    assert ranges.beyond_chance(2, 2, 2) == pytest.approx(1 / 6)
    assert ranges.beyond_chance(0, 2, 2) == 1.0


def test_clean_windows_are_called_unusual_at_most_at_the_stated_rate():
    # 500 pairs at 1%: more than 12 have a chance below 0.2%.
    unusual = [
        bool(Ranges.of(rows(300, seed), NAMES, RATE).look(rows(100, seed + 10_000)).unusual)
        for seed in range(500)
    ]
    assert sum(unusual) <= 12
