from __future__ import annotations

import numpy as np
import pytest

from coppice import project
from retrain.evaluate import rows


def split(**inputs: project.Array) -> project.Split:
    count = len(next(iter(inputs.values())))
    return project.Split(inputs=inputs, targets=np.zeros(count, np.int64))


MIXED = split(
    age=np.array([40, 60]),
    name=np.array(["ada", "bob"]),
    image=np.arange(16.0).reshape(2, 1, 2, 4),
)


def test_texts_have_no_column() -> None:
    # One for the age, eight for the picture.
    assert rows.matrix(MIXED).shape == (2, 9)
    assert rows.matrix(MIXED)[1].tolist() == [60.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]


@pytest.mark.parametrize(("column", "name"), [(0, "age"), (1, "image[0,0,0]"), (8, "image[0,1,3]")])
def test_a_column_is_named_by_its_input_and_place(column: int, name: str) -> None:
    assert rows.column_name(MIXED, column) == name


def test_a_column_that_is_not_there_has_no_name() -> None:
    with pytest.raises(IndexError, match="beyond the last"):
        rows.column_name(MIXED, 9)


def test_table_columns_have_units_of_their_own() -> None:
    table = split(x=np.array([[0.0, 0.0, 7.0], [2.0, 200.0, 7.0]]))
    # Deviations of (0, 2) and (0, 200) from their means; the third column never changes.
    assert rows.scales(table).tolist() == [1.0, 100.0, 0.0]


def test_the_values_of_a_picture_share_one_unit() -> None:
    picture = split(x=np.array([[[0.0, 0.0, 5.0]], [[6.0, 8.0, 5.0]]]))
    # Deviations 3, 4 and 0: together the square root of (9 + 16 + 0) / 3.
    assert rows.scales(picture) == pytest.approx([(25 / 3) ** 0.5, (25 / 3) ** 0.5, 0.0])


def test_rows_are_chosen_evenly_and_never_twice() -> None:
    assert rows.spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert rows.spread(101, 3).tolist() == [0, 50, 100]


def test_a_picture_is_shown_in_grey_between_the_lowest_and_highest_value() -> None:
    scans = split(x=np.stack([np.full((1, 4, 4), 0.0), np.full((1, 4, 4), 16.0)]))
    shown = rows.exemplar(scans, 1, "a scan")
    assert (shown.caption, shown.pixels[0]) == ("a scan", (1.0, 1.0, 1.0, 1.0))


def test_a_table_row_is_shown_by_its_values() -> None:
    shown = rows.exemplar(split(x=np.array([[1.0, 2.5]])), 0, "a row")
    assert (shown.pixels, shown.values) == ((), {"x[0]": 1.0, "x[1]": 2.5})
