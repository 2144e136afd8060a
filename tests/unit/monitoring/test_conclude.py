"""The verdicts themselves are tried through a monitor, in test_loop.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from coppice import records
from monitoring import conclude, versions
from tests.support import worlds


@pytest.fixture
def world(tmp_path: Path) -> worlds.World:
    return worlds.World(tmp_path)


@pytest.fixture
def made(world: worlds.World) -> conclude.Conclusions:
    found = versions.Versions(world.registry, world.settings)
    return conclude.Conclusions(world.log, found, world.settings, world.clock, world.recorder)


def test_something_is_due_at_once_and_then_when_its_time_is_over(
    world: worlds.World, made: conclude.Conclusions
) -> None:
    assert made.is_due("measure", 10.0)
    world.clock.advance(9.0)
    assert not made.is_due("measure", 10.0)
    # One second more makes ten since it was done; what was refused did not begin them anew.
    world.clock.advance(1.0)
    assert made.is_due("measure", 10.0)


def test_a_new_monitor_does_not_repeat_verdicts_that_an_earlier_one_just_announced(
    world: worlds.World, made: conclude.Conclusions
) -> None:
    seconds = conclude.REFRESH_SECONDS["champion"]
    assert not made.is_due("champion", seconds)
    world.clock.advance(seconds)
    assert made.is_due("champion", seconds)


def test_before_the_first_look_there_is_nothing_to_show(made: conclude.Conclusions) -> None:
    assert made.status() is None
    assert made.report("drift.html") is None


def test_a_step_that_raised_is_counted_by_its_error(
    world: worlds.World, made: conclude.Conclusions
) -> None:
    made.failed(ValueError("no"))
    counted = {
        sample.labels["error"]: sample.value
        for family in world.recorder.registry.collect()
        for sample in family.samples
        if sample.name == "coppice_monitor_turn_errors_total"
    }
    assert counted == {"ValueError": 1.0}
    assert world.read(records.Verdict) == []
