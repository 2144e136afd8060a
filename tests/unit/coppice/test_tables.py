from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from coppice import columnar, errors, tables

WANTED = {"a": columnar.Wanted(np.dtype("int64"))}
CSV = "a,b\n0,x\n1\n2,x\n3,x,x\n4,x\n5,x\n6\n"
"""Rows 1, 3 and 6 are ragged; the value of `a` is the number of the row."""


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(pa.table({"a": range(10), "b": ["x"] * 10}), path, row_group_size=4)
    return path


def numbers(path: Path, rows: int, skip: int = 0) -> list[list[int]]:
    found = tables.open_table(path).stretches(WANTED, rows, skip)
    return [stretch.columns["a"].values.tolist() for stretch in found]


def test_stretches_cross_row_groups(parquet: Path) -> None:
    assert numbers(parquet, 3) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


@pytest.mark.parametrize("skip", [0, 1, 2, 3, 4])
def test_stretches_passed_over_leave_the_others_as_they_were(parquet: Path, skip: int) -> None:
    assert numbers(parquet, 3, skip) == numbers(parquet, 3)[skip:]


def test_rows_that_are_ragged_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    found = list(tables.open_table(tmp_path / "t.csv").stretches(WANTED, 2))
    assert [stretch.numbers.tolist() for stretch in found] == [[0, 2], [4, 5], []]
    assert [sorted(stretch.ragged) for stretch in found] == [[1], [3], [6]]
    assert found[1].columns["a"].values.tolist() == [4, 5]


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_a_csv_file_is_resumed_without_repeating_a_ragged_row(tmp_path: Path, skip: int) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    found = tables.open_table(tmp_path / "t.csv").stretches(WANTED, 2, skip)
    assert [sorted(stretch.ragged) for stretch in found] == [[1], [3], [6]][skip:]


def test_a_quoted_cell_may_hold_a_comma_and_a_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n0,"x,\ny"\n1,z\n')
    assert numbers(tmp_path / "t.csv", 5) == [[0, 1]]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"a,a\n1,2\n", "'a'"), (b"\xff\xfe", "cannot be read")],
)
def test_a_csv_file_without_good_names_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(errors.InputError, match=problem):
        tables.open_table(tmp_path / "t.csv")


def test_a_damaged_page_is_an_error_and_not_rows(parquet: Path) -> None:
    content = bytearray(parquet.read_bytes())
    content[4:40] = bytes(36)
    parquet.write_bytes(content)
    with pytest.raises(errors.InputError, match="cannot be read"):
        numbers(parquet, 3)
