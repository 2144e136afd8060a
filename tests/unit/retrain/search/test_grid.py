from __future__ import annotations

from pathlib import Path

import pytest

from retrain.pruning import schedule
from retrain.search import grid, sensitivity, subject
from tests.support import searching


def points(of: subject.Subject) -> tuple[sensitivity.Point, ...]:
    """A sensitivity that was made up: a unit that goes costs 0.01, and a block 0.2."""
    swept = [
        sensitivity.Point(group=name, units=units, kept=8, drop=0.0, rise=0.01 * (units - 8))
        for name, units in of.units.items()
    ]
    left = [
        sensitivity.Point(group="layers", units=2, kept=2 - gone, drop=0.0, rise=0.2 * gone)
        for gone in (1, 2)
    ]
    return (*swept, *left)


def test_candidates_stand_on_every_ground(tmp_path: Path) -> None:
    of = searching.subject_of(tmp_path)
    found = grid.candidates(of, points(of), 30)
    assert {each.shape.ground for each in found} == {0, 1, 2}


def test_the_dense_model_is_no_candidate_but_the_whole_of_a_later_ground_is(
    tmp_path: Path,
) -> None:
    of = searching.subject_of(tmp_path)
    shapes = [each.shape for each in grid.candidates(of, points(of), 1000)]
    whole = {"0": searching.WIDE}
    assert subject.Shape(2, whole) in shapes
    assert not any(
        shape.ground == 0 and all(of.units[name] == kept for name, kept in shape.kept.items())
        for shape in shapes
    )


def test_damage_is_that_of_the_widths_and_of_the_blocks(tmp_path: Path) -> None:
    of = searching.subject_of(tmp_path)
    damage = {
        (each.shape.ground, each.shape.kept["0"]): each.damage
        for each in grid.candidates(of, points(of), 1000)
        if each.shape.ground == 2
    }
    # Both blocks out: 0.4; with 8 of 32 units 24 more units at 0.01.
    assert damage[2, searching.WIDE] == pytest.approx(0.4)
    assert damage[2, 8] == pytest.approx(0.64)


def test_no_more_come_than_are_asked_for_and_they_cover_all_costs(tmp_path: Path) -> None:
    of = searching.subject_of(tmp_path)
    found = grid.candidates(of, points(of), 12)
    assert 9 <= len(found) <= 12
    macs = [schedule.cost(of.structure(each.shape).model, of.training).macs for each in found]
    # The cheapest there is has 4*8 + 8*2; dense 4*32 + 2 * 2*32*16 + 32*2 = 2240.
    assert min(macs) < 2 * 48
    assert max(macs) > 2240 / 2
