from __future__ import annotations

import numpy as np
import pytest

from service import batch_rows


def stretch(*, ids: bool = True, wrong: list[tuple[int, str]] | None = None) -> batch_rows.Rows:
    """Rows 10, 11, 13 and 14 of a file; 12 was ragged."""
    numbers = np.array([10, 11, 13, 14])
    inputs = {"x": np.arange(8.0).reshape(4, 2), "kind": np.array(["a", "b", "c", "d"], object)}
    found = np.array(["r10", "r11", "r13", "r14"], object) if ids else None
    return batch_rows.Rows(numbers, inputs, found, wrong or [], 0.5)


def test_a_stretch_without_wrong_rows_stays_as_it_is() -> None:
    whole = stretch()
    assert batch_rows.sift(whole, {}) is whole


def test_a_wrong_row_leaves_every_column_and_is_named_by_its_number_in_the_file() -> None:
    found = batch_rows.sift(stretch(), {2: "a value is missing"})
    assert found.numbers.tolist() == [10, 11, 14]
    assert found.inputs["x"].tolist() == [[0, 1], [2, 3], [6, 7]]
    assert found.inputs["kind"].tolist() == ["a", "b", "d"]
    assert found.ids is not None
    assert found.ids.tolist() == ["r10", "r11", "r14"]
    assert found.wrong == [(13, "a value is missing")]


def test_rows_that_were_wrong_before_are_kept_and_all_are_in_order() -> None:
    found = batch_rows.sift(stretch(wrong=[(12, "ragged")]), {3: "late", 0: "early"})
    assert found.wrong == [(10, "early"), (12, "ragged"), (14, "late")]


def test_rows_without_ids_have_none_afterwards() -> None:
    assert batch_rows.sift(stretch(ids=False), {0: "wrong"}).ids is None


def test_where_all_rows_are_wrong_the_columns_keep_their_shape_and_type() -> None:
    found = batch_rows.sift(stretch(), dict.fromkeys(range(4), "wrong"))
    assert found.inputs["x"].shape == (0, 2)
    assert found.inputs["kind"].dtype == object
    assert [number for number, _ in found.wrong] == [10, 11, 13, 14]


@pytest.mark.parametrize("wrong", [{}, {0: "wrong"}])
def test_how_much_of_the_file_is_read_does_not_change(wrong: dict[int, str]) -> None:
    assert batch_rows.sift(stretch(), wrong).share == 0.5


def test_what_is_sifted_is_not_changed_itself() -> None:
    whole = stretch(wrong=[(12, "ragged")])
    batch_rows.sift(whole, {0: "wrong"})
    assert whole.numbers.tolist() == [10, 11, 13, 14]
    assert whole.wrong == [(12, "ragged")]
