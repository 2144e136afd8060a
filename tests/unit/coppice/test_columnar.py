from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from coppice import columnar, errors
from coppice.columnar import Wanted

FLOAT = np.dtype("float32")


def cast(values: list[Any], kind: Any, wanted: Wanted) -> columnar.Column:
    return columnar.cast(pa.array(values, kind), wanted, "c")


def test_numbers_become_what_the_model_takes() -> None:
    column = cast([1, 2], "int32", Wanted(FLOAT))
    assert (column.values.dtype, column.values.tolist(), column.wrong) == (FLOAT, [1.0, 2.0], {})


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "reason"),
    [
        ([1.0, None], "float64", "float32", "missing"),
        ([1.0, float("nan")], "float64", "float32", "NaN"),
        ([1.0, 1e300], "float64", "float32", "infinite"),
        ([1, 300], "int64", "int8", "out of the range of int8"),
        ([1, -1], "int64", "uint8", "out of the range of uint8"),
        (["a", None], "string", "object", "missing"),
    ],
)
def test_a_cell_that_is_no_value_is_named_and_the_others_stay(
    values: list[Any], kind: str, dtype: str, reason: str
) -> None:
    column = cast(values, kind, Wanted(np.dtype(dtype)))
    assert list(column.wrong) == [1]
    assert reason in column.wrong[1]
    assert column.values[0] == values[0]


@pytest.mark.parametrize(
    ("kind", "values", "dtype"),
    [
        ("string", ["1"], "float32"),
        ("float64", [1.0], "int64"),
        ("int64", [1], "object"),
        ("bool", [True], "float32"),
        ("int64", [1], "bool"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(kind: str, values: list[Any], dtype: str) -> None:
    with pytest.raises(errors.InputError, match="column 'c' holds"):
        cast(values, kind, Wanted(np.dtype(dtype)))


def test_lists_of_one_length_become_rows() -> None:
    column = cast([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()), Wanted(FLOAT, 2))
    assert column.values.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_lists_that_are_ragged_missing_or_hold_no_value_are_named() -> None:
    values = [[1.0, 2.0], [3.0], None, [5.0, None], [6.0, float("inf")], [7.0, 8.0]]
    column = cast(values, pa.list_(pa.float64()), Wanted(FLOAT, 2))
    assert sorted(column.wrong) == [1, 2, 3, 4]
    assert "1 elements here, not 2" in column.wrong[1]
    assert column.values[[0, 5]].tolist() == [[1.0, 2.0], [7.0, 8.0]]


def test_ids_stay_whole_numbers_or_become_texts() -> None:
    assert cast([7, 8], "int16", Wanted(None)).values.tolist() == [7, 8]
    assert cast(["007"], "string", Wanted(None)).values.tolist() == ["007"]


@pytest.mark.parametrize(
    ("cell", "dtype"),
    [("1_000", "float32"), ("0x10", "float32"), ("1.5", "int64"), ("yes", "bool"), ("", "int64")],
)
def test_a_text_that_is_no_number_is_named_and_the_others_are_read(cell: str, dtype: str) -> None:
    texts = pa.array(["1", cell or None, "0"])
    column = columnar.parse(texts, Wanted(np.dtype(dtype)), "c")
    assert list(column.wrong) == [1]
    assert column.values[[0, 2]].tolist() == [1, 0]


def test_texts_with_spaces_around_are_numbers() -> None:
    column = columnar.parse(pa.array([" 1.5 ", "x"]), Wanted(FLOAT), "c")
    assert (column.values[0], list(column.wrong)) == (1.5, [1])


def test_without_pyarrow_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(errors.EnvironmentProblem, match=r"coppice\[parquet\]"):
        columnar.arrow()
