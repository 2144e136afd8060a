from __future__ import annotations

import pytest

from coppice.testing import ManualClock
from retrain.search import deadline


def test_a_deadline_is_over_when_its_seconds_have_passed() -> None:
    timer = ManualClock()
    until = deadline.Deadline(60.0, timer)
    timer.advance(59.0)
    until.check()
    timer.advance(1.0)
    assert until.over
    with pytest.raises(deadline.OutOfTime):
        until.check()


def test_without_a_limit_there_is_no_end() -> None:
    timer = ManualClock()
    until = deadline.Deadline(None, timer)
    timer.advance(1e9)
    assert not until.over
    assert not until.part(0.5).over


def test_a_part_is_a_share_of_the_time_that_is_left() -> None:
    timer = ManualClock()
    until = deadline.Deadline(60.0, timer)
    timer.advance(20.0)
    half = until.part(0.5)  # 20 of the 40 that are left
    timer.advance(19.0)
    assert not half.over
    timer.advance(1.0)
    assert half.over
    assert not until.over
