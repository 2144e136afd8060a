from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import bets

MARGINS = st.floats(0.0, 0.49)
OUTCOMES = st.floats(-1.0, 1.0)


def test_the_grid_stays_strictly_inside_the_interval_in_which_no_outcome_loses_everything() -> None:
    # A share of 1 would let the worst outcome wipe the wealth out (log 0), a share of 0 never grow.
    assert min(bets.SHARES) > 0.0
    assert max(bets.SHARES) < 1.0
    assert list(bets.SHARES) == sorted(set(bets.SHARES))


@given(MARGINS, OUTCOMES)
def test_no_outcome_can_bankrupt_a_bet(margin: float, outcome: float) -> None:
    assert np.isfinite(bets.growth_above(outcome, margin)).all()
    assert np.isfinite(bets.growth_below(outcome, margin)).all()


@given(MARGINS)
def test_an_outcome_at_the_margin_changes_nothing(margin: float) -> None:
    # 1 + bet * (margin - margin) = 1, whose log is 0.
    assert bets.growth_above(margin, margin).tolist() == [0.0] * len(bets.SHARES)
    assert bets.growth_below(margin, margin).tolist() == [0.0] * len(bets.SHARES)


@given(MARGINS, st.floats(0.0, 1.0))
def test_a_fair_outcome_does_not_grow_any_bet_in_expectation(margin: float, weight: float) -> None:
    # Outcomes 1 and -1 whose mean is the margin: the expected factor of each bet is exactly 1.
    # A third outcome at the margin itself, with any weight, leaves it so.
    chance = (1.0 + margin) / 2.0
    up, down, fair = (np.exp(bets.growth_above(value, margin)) for value in (1.0, -1.0, margin))
    expected = weight * (chance * up + (1.0 - chance) * down) + (1.0 - weight) * fair
    assert expected == pytest.approx(np.ones(len(bets.SHARES)))


@given(st.floats(0.0, 0.49), st.floats(-1.0, 1.0))
def test_betting_below_mirrors_betting_above_on_the_other_sign(
    margin: float, outcome: float
) -> None:
    # 1 + bet * (margin - y) = 1 + bet * (-y - (-margin)), with the same bets.
    assert bets.growth_below(outcome, margin) == pytest.approx(
        bets.growth_above(-outcome, -margin), abs=1e-12
    )


def test_growth_of_several_outcomes_has_a_row_for_each() -> None:
    growth = bets.growth_above([1.0, 0.0, -1.0], 0.01)
    assert growth.shape == (3, len(bets.SHARES))
    assert growth[0].tolist() == bets.growth_above(1.0, 0.01).tolist()


def test_no_outcomes_grow_nothing() -> None:
    assert bets.growth_above([], 0.01).sum(axis=0).tolist() == list(bets.EVEN)


def test_the_parts_of_the_bets_are_positive_and_add_up_to_one() -> None:
    # So the wealth starts at 1, and as each bet's, it cannot be expected to grow.
    assert len(bets.WEIGHTS) == len(bets.SHARES)
    assert min(bets.WEIGHTS) > 0.0
    assert sum(bets.WEIGHTS) == pytest.approx(1.0)


def test_the_mixture_is_the_log_of_the_whole_wealth() -> None:
    # Parts of 1, 2, 2, 3, 3, 3 and 1 fifteenths; the third bet doubled, the last grew tenfold:
    # (1 + 2 + 2 * 2 + 3 + 3 + 3 + 10) / 15 = 26 / 15.
    wealth = np.array([1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 10.0])
    assert float(bets.mixture(np.log(wealth))) == pytest.approx(math.log(26.0 / 15.0))


def test_the_mixture_survives_wealth_that_no_float_can_hold() -> None:
    # exp(5000) overflows; the first bet's part of it is one fifteenth, the others are ruined.
    wealth = np.array([5000.0, *[-5000.0] * (len(bets.SHARES) - 1)])
    assert float(bets.mixture(wealth)) == pytest.approx(5000.0 - math.log(15.0))


def test_the_mixture_keeps_the_leading_shape() -> None:
    assert bets.mixture(np.zeros((4, 3, len(bets.SHARES)))).shape == (4, 3)
