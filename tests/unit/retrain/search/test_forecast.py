from __future__ import annotations

import math

import pytest

from retrain.search import forecast

SURE = forecast.Loss(0.08, 0.08, 0.08)
"""Lost on so many rows that these leave nothing open."""


def test_the_gap_falls_by_a_power_of_the_rows() -> None:
    # A control without an error cannot gain. 1024 times the rows: 2^-(10 * 0.7) is left.
    found = forecast.after(SURE, 1.0, 1024.0)
    assert found.control_gain == 0.0
    assert found.left == pytest.approx(1 / 128)
    assert found.loss == pytest.approx(0.08 / 128)


def test_the_interval_reaches_from_the_fastest_power_to_the_slowest() -> None:
    # 16 times the rows: 16^-0.5 = 1/4 at worst, 16^-1.1 at best.
    found = forecast.after(SURE, 1.0, 16.0)
    assert found.high == pytest.approx(0.02)
    assert found.low == pytest.approx(0.08 * 16**-1.1)


def test_what_the_rows_leave_open_is_as_wide_in_the_end() -> None:
    found = forecast.after(forecast.Loss(0.0, -0.01, 0.02), 1.0, 16.0)
    assert (found.low, found.loss, found.high) == pytest.approx((-0.01, 0.0, 0.02))


def test_doubts_are_added_as_squares() -> None:
    found = forecast.after(forecast.Loss(0.08, 0.07, 0.09), 1.0, 16.0)
    beyond = 0.08 * (1 / 4 - 16**-0.7)
    assert found.high - found.loss == pytest.approx(math.hypot(0.01, beyond))


def test_what_the_control_gains_has_to_be_made_up_for_too() -> None:
    # An error of 0.1 falls to 16^-0.015 of it.
    found = forecast.after(SURE, 0.9, 16.0)
    gain = 0.1 * (1 - 16**-0.015)
    assert found.control_gain == pytest.approx(gain)
    assert found.loss == pytest.approx((0.08 + gain) * 16**-0.7)


def test_a_control_that_may_gain_more_or_nothing_makes_the_interval_wider() -> None:
    sure, open_ = (forecast.after(SURE, control, 16.0) for control in (1.0, 0.5))
    assert open_.high - open_.loss > sure.high - sure.loss
    assert open_.loss - open_.low > sure.loss - sure.low


@pytest.mark.parametrize("times", [1.0, 0.25])
def test_a_recovery_no_longer_than_the_probe_leaves_what_was_measured(times: float) -> None:
    found = forecast.after(forecast.Loss(0.04, 0.01, 0.07), 0.9, times)
    assert (found.low, found.loss, found.high) == pytest.approx((0.01, 0.04, 0.07))
    assert (found.left, found.control_gain) == (1.0, 0.0)


def test_a_lead_over_the_control_shrinks_too_and_stays_between_its_ends() -> None:
    found = forecast.after(forecast.Loss(-0.08, -0.08, -0.08), 1.0, 16.0)
    assert found.loss == pytest.approx(-0.08 * 16**-0.7)
    assert found.low < found.loss < found.high
