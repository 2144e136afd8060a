from __future__ import annotations

import dataclasses

import numpy as np

from coppice import project
from retrain.evaluate import duplicates
from tests.support import digits, planted

DATA = digits.load_data()


def noisy(split: project.Split, noise: float) -> project.Split:
    random = np.random.default_rng(0)
    pixels = split.inputs["pixels"]
    grain = random.normal(0.0, noise, pixels.shape).astype(np.float32)
    return dataclasses.replace(split, inputs={"pixels": pixels + grain})


def test_real_scans_of_different_people_are_no_copies() -> None:
    space = duplicates.Space(DATA.train, seed=0)
    found = duplicates.overlap(DATA.train, DATA.holdout, space)
    assert (found.exact, found.near) == ((), ())
    assert (found.rows, found.compared) == (300, 300)


def test_real_patients_are_no_copies() -> None:
    data = planted.cancer()
    space = duplicates.Space(data.train, seed=0)
    found = duplicates.overlap(data.train, data.holdout, space)
    assert (found.exact, found.near) == ((), ())


def test_exact_copies_are_found_with_the_row_they_copy() -> None:
    space = duplicates.Space(DATA.train, seed=0)
    found = duplicates.overlap(DATA.train, DATA.train.take(np.array([7, 3])), space)
    assert [(each.row, each.other) for each in found.exact] == [(0, 7), (1, 3)]
    # An exact copy is not counted as a near one besides.
    assert (found.exact_share, found.near_share) == (1.0, 0.0)


def test_copies_with_a_hundredth_of_noise_are_found() -> None:
    space = duplicates.Space(DATA.train, seed=0)
    found = duplicates.overlap(DATA.train, noisy(DATA.train.take(np.arange(20)), 0.01), space)
    assert [(each.row, each.other) for each in found.near] == [(row, row) for row in range(20)]
    assert found.near_share == 1.0


def test_wide_rows_are_compared_after_a_projection() -> None:
    random = np.random.default_rng(0)
    wide = project.Split(
        inputs={"x": random.normal(size=(60, 700)).astype(np.float32)}, targets=np.zeros(60, int)
    )
    nudged = dataclasses.replace(wide, inputs={"x": wide.inputs["x"] + np.float32(0.01)})
    found = duplicates.overlap(wide, nudged, duplicates.Space(wide, seed=3))
    # The nudge is a hundredth of a deviation; neighbours lie sqrt(2) deviations apart.
    assert [each.other for each in found.near] == list(range(60))
    assert found.exact == ()


def test_rows_that_never_vary_have_no_near_copies() -> None:
    same = project.Split(inputs={"x": np.ones((4, 2))}, targets=np.zeros(4, int))
    found = duplicates.overlap(same, same, duplicates.Space(same, seed=0))
    assert (len(found.exact), found.near, found.compared) == (4, (), 0)


def test_texts_are_compared_as_whole_rows() -> None:
    words = project.Split(inputs={"x": np.array(["a", "b", "a"])}, targets=np.zeros(3, int))
    found = duplicates.overlap(words, words.take(np.array([1])), duplicates.Space(words, seed=0))
    assert [(each.row, each.other) for each in found.exact] == [(0, 1)]
    assert [(each.row, each.other) for each in duplicates.within(words)] == [(2, 0)]
