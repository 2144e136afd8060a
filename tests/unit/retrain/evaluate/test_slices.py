from __future__ import annotations

import numpy as np
import pytest

from coppice import project
from retrain.evaluate import paired, slices


def split(targets: list[int], **families: list[str]) -> project.Split:
    return project.Split(
        inputs={},
        targets=np.array(targets),
        slices={name: np.array(values) for name, values in families.items()},
    )


def test_declared_slices_and_classes_are_both_slices() -> None:
    named = slices.masks(split([0, 1, 1], pen=["ink", "lead", "ink"]), ("zero", "one"))
    assert list(named) == ["pen=ink", "pen=lead", "class=zero", "class=one"]
    assert named["pen=ink"].tolist() == [True, False, True]
    assert named["class=one"].tolist() == [False, True, True]


def test_a_row_without_a_value_is_in_no_slice_of_the_family() -> None:
    named = slices.masks(split([0, 0], pen=["ink", ""]), ())
    assert list(named) == ["pen=ink"]


def test_a_family_called_class_takes_the_place_of_the_classes() -> None:
    named = slices.masks(split([0, 1], **{"class": ["old", "new"]}), ("zero", "one"))
    assert list(named) == ["class=new", "class=old"]


def test_numbers_may_name_slices() -> None:
    rows = project.Split(inputs={}, targets=np.zeros(2), slices={"site": np.array([7, 9])})
    assert slices.masks(rows, ())["site=7"].tolist() == [True, False]


def test_a_slice_without_rows_is_left_out() -> None:
    pairs = paired.Pairs(outcomes=np.zeros(2), divergence=np.zeros(2))
    found = slices.compare(
        pairs, slices.masks(split([0, 0]), ("zero", "one")), confidence=0.95, min_rows=1
    )
    assert list(found) == ["class=zero"]


def test_the_judged_slices_share_the_chance_of_a_false_alarm() -> None:
    outcomes = np.array(([1.0] * 4 + [0.0] * 46) * 2)
    pairs = paired.Pairs(outcomes=outcomes, divergence=outcomes)
    rows = split([0] * 50 + [1] * 50, rare=["yes"] * 3 + [""] * 97)
    found = slices.compare(pairs, slices.masks(rows, ("zero", "one")), confidence=0.95, min_rows=30)
    # Two slices have 30 rows, the third is only reported: each gets half of 0.05.
    expected = paired.tango(4, 0, 50, confidence=0.975)
    assert (found["class=zero"].low, found["class=zero"].high) == pytest.approx(expected)
    assert found["rare=yes"].rows == 3
