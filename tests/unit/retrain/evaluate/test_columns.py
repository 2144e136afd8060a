from __future__ import annotations

import numpy as np
import pytest

from coppice import project
from retrain.evaluate import columns
from tests.support import digits, planted


def table(*values: list[float]) -> project.Split:
    array = np.array(values)
    return project.Split(inputs={"x": array}, targets=np.zeros(len(array), np.int64))


def test_corners_that_are_blank_on_every_scan_are_constant() -> None:
    data = digits.load_data()
    # Nobody writes into the left edge of the box in these 500 scans, but for some stray strokes.
    found = columns.constant(data.train)
    blank = [
        at for at in range(64) if not data.train.inputs["pixels"].reshape(500, 64)[:, at].any()
    ]
    assert found.tolist() == blank
    assert len(blank) == 3


def test_the_share_of_missing_values_is_told_by_column() -> None:
    found = columns.missing(table([1.0, np.nan], [2.0, np.inf], [3.0, 4.0], [5.0, 6.0]))
    assert found.tolist() == [0.0, 0.5]


@pytest.mark.parametrize("data", [digits.load_data(), planted.cancer()], ids=["digits", "cancer"])
def test_real_splits_drawn_alike_do_not_stray(data: project.Data) -> None:
    assert columns.strays(data.train, data.holdout, alpha=0.05) == ()


def test_a_column_in_other_units_strays_and_its_rows_are_named() -> None:
    data = planted.cancer()
    cells = data.holdout.inputs["cells"].copy()
    # The first column is a mean radius of 7 to 28; twenty rows come in hundredths of it.
    cells[:20, 0] *= 100.0
    holdout = project.Split(inputs={"cells": cells}, targets=data.holdout.targets)
    found = columns.strays(data.train, holdout, alpha=0.05)
    assert [each.column for each in found] == [0]
    assert set(range(20)) <= set(found[0].outside)


def test_the_chance_of_leaving_the_range_is_that_of_extremes() -> None:
    # Drawn alike, each of 3 values is the highest or lowest with 2 in 3: the one holdout value
    # leaves the range of two training values with probability 2/3.
    found = columns.strays(table([0.0], [1.0]), table([5.0]), alpha=0.7)
    assert found[0].chance == pytest.approx(2 / 3)
    assert columns.strays(table([0.0], [1.0]), table([5.0]), alpha=0.6) == ()


def test_one_training_row_has_no_range() -> None:
    assert columns.strays(table([0.0]), table([5.0]), alpha=0.5) == ()


def test_columns_beyond_the_first_block_keep_their_number() -> None:
    wide = np.random.default_rng(0).normal(size=(40, 300))
    wide[:, 290] = 7.0
    strange = wide.copy()
    strange[:, 280] += 100.0
    train, holdout = table(*wide.tolist()), table(*strange.tolist())
    assert columns.constant(train).tolist() == [290]
    assert [each.column for each in columns.strays(train, holdout, alpha=0.05)] == [280]
    strange[:10, 299] = np.nan
    found = columns.missing(table(*strange.tolist()))
    assert (found[299], found[298]) == (0.25, 0.0)
