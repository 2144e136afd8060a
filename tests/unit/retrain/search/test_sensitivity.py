from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coppice.testing import MemoryRegistry
from retrain.pruning import groups
from retrain.search import grounds, loop, sensitivity, widths
from tests.support import searching


def sweep(folder: Path) -> dict[tuple[str, int], sensitivity.Point]:
    points = loop.sweep(
        searching.own_of(folder), MemoryRegistry(folder / "versions"), searching.wish()
    )
    return {(point.group, point.kept): point for point in points}


def ground(out: tuple[str, ...]) -> grounds.Ground:
    model = searching.build_model()
    return grounds.Ground(out=out, blocks=2, model=model, ready=model, coupled=())


def test_every_group_is_cut_alone_to_a_few_of_its_counts(tmp_path: Path) -> None:
    # Of 8 16 24 (whole is 32) all three; of 8 (whole is 16) the one.
    assert set(sweep(tmp_path)) == {("0", 8), ("0", 16), ("0", 24), ("3", 8)}


def test_a_sweep_is_not_made_twice(tmp_path: Path) -> None:
    first = sweep(tmp_path)
    before = searching.findings(tmp_path)
    assert sweep(tmp_path) == first
    assert searching.findings(tmp_path) == before


def test_fewer_units_do_more_harm(tmp_path: Path) -> None:
    points = sweep(tmp_path)
    assert points["0", 8].rise > points["0", 24].rise
    assert points["0", 8].units == searching.WIDE


def test_the_narrowest_count_is_always_measured() -> None:
    assert sensitivity.sampled((8, 16, 24, 32, 48, 64, 96)) == (8, 24, 64)
    assert sensitivity.sampled((8, 16)) == (8,)
    assert sensitivity.sampled((8, 16, 24), most=1) == (8,)


def test_the_damage_of_a_combination_is_the_sum_over_its_groups() -> None:
    first, second = (groups.CoupledGroup(name, 16, ()) for name in ("a", "b"))
    families = (widths.Family((first, second), ((8, 8), (16, 16))),)
    points = [
        sensitivity.Point(group="a", units=16, kept=8, drop=0.0, rise=0.3),
        sensitivity.Point(group="b", units=16, kept=8, drop=0.0, rise=0.5),
    ]
    # Both at 8 units: 0.3 + 0.5; both whole: nothing.
    found = sensitivity.damage(points, ground(()), families, np.array([[0], [1]]))
    assert found.tolist() == pytest.approx([0.8, 0.0])


def test_the_damage_of_blocks_that_are_left_out_is_added() -> None:
    points = [sensitivity.Point(group="layers", units=2, kept=1, drop=0.0, rise=0.4)]
    found = sensitivity.damage(points, ground(("b",)), (), np.empty((1, 0), dtype=np.int64))
    assert found.tolist() == pytest.approx([0.4])
