from __future__ import annotations

import numpy as np
import pytest

from coppice import project
from retrain.evaluate import display
from tests.support import subjects


def split(**inputs: np.ndarray) -> project.Split:  # type: ignore[type-arg]
    rows = len(next(iter(inputs.values())))
    return project.Split(inputs=inputs, targets=np.zeros(rows))


def show(**inputs: np.ndarray) -> display.section.Exemplar:  # type: ignore[type-arg]
    rows = split(**inputs)
    return display.Display(rows, rows).show(0, "first")


def test_a_real_scan_is_a_picture_in_grey() -> None:
    subject = subjects.scans()
    found = display.Display(subject.data.holdout, subject.training).show(3, "fourth")
    scan = subject.data.holdout.inputs["pixels"][3, 0]
    assert found.values == {}
    assert np.array(found.pixels) == pytest.approx(scan, abs=1e-3)


def test_slices_are_told_in_the_caption() -> None:
    subject = subjects.scans()
    pen = subject.data.holdout.slices["pen"][3]
    found = display.Display(subject.data.holdout, subject.training).show(3, "fourth")
    assert found.caption == f"fourth; pen {pen}"


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 8, 8, 3), (2, 8, 8), (2, 1, 8, 8)])
def test_colours_are_averaged_wherever_they_lie(shape: tuple[int, ...]) -> None:
    picture = show(photo=np.random.default_rng(0).integers(0, 255, size=shape)).pixels
    assert np.array(picture).shape == (8, 8)
    assert 0.0 <= np.min(picture) <= np.max(picture) <= 1.0


def test_pictures_are_scaled_by_their_darkest_and_lightest_pixels() -> None:
    photo = np.zeros((2, 4, 4))
    photo[0, 0, 0], photo[1, 0, 0] = -2.0, 2.0
    # Nought lies in the middle between -2 and 2.
    picture = np.array(show(photo=photo).pixels)
    assert picture[0, 0] == 0.0
    assert picture[1, 1] == 0.5


def test_a_blank_picture_can_be_shown() -> None:
    assert np.array(show(photo=np.ones((1, 4, 4))).pixels).tolist() == [[0.0] * 4] * 4


def test_a_large_picture_is_thinned_out() -> None:
    # 200 pixels over 64 is every fourth.
    assert np.array(show(photo=np.zeros((1, 200, 120))).pixels).shape == (50, 30)


def test_a_table_shows_what_is_furthest_from_the_usual() -> None:
    usual = np.random.default_rng(0).normal(size=(500, 12))
    odd = np.zeros((1, 12))
    odd[0, 7], odd[0, 2] = 9.0, -5.0
    found = display.Display(split(values=odd), split(values=usual)).show(0, "odd")
    assert list(found.values)[:2] == ["values[7]", "values[2]"]
    assert found.values["values[7]"] == 9.0
    assert len(found.values) == display.MOST_VALUES
    assert found.pixels == ()


def test_a_column_that_never_varied_is_compared_all_the_same() -> None:
    rows = split(age=np.full(3, 40.0))
    found = display.Display(split(age=np.array([41.0])), rows).show(0, "older")
    assert found.values == {"age": 41.0}


def test_inputs_that_cannot_be_shown_leave_the_caption() -> None:
    assert show(text=np.array(["a", "b"])) == display.section.Exemplar(caption="first")
    # Five channels are no colours, and two pixels no picture.
    assert show(cube=np.zeros((2, 5, 8, 8))).pixels == ()
    assert show(strip=np.zeros((2, 2, 8))).pixels == ()
