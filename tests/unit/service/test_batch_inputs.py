from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from coppice import artifact, errors
from service import batch_inputs, batch_rows

X = artifact.TensorSpec("x", "float32", (2,))
KIND = artifact.TensorSpec("kind", "object", ())


def manifest(*specs: artifact.TensorSpec) -> artifact.Manifest:
    return artifact.Manifest(
        name="m", task="regression", inputs=specs, accepted=1.0, accepted_rows=1, created_at=0.0
    )


def table(path: Path, **columns: Any) -> Path:
    pa.parquet.write_table(pa.table(columns), path)
    return path


def open_source(
    path: Path, *specs: artifact.TensorSpec, columns: Any = None, id_name: str | None = None
) -> batch_rows.Source:
    made = manifest(*(specs or (X,)))
    return batch_inputs.open_source(path, made, columns=columns or {}, id_name=id_name)


def only(source: batch_rows.Source) -> batch_rows.Rows:
    (found,) = source.stretches(100, 0)
    return found


def test_numbered_columns_become_one_input(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet", x_1=[2.0, 4.0], x_0=[1.0, 3.0])
    assert only(open_source(path)).inputs["x"].tolist() == [[1, 2], [3, 4]]


def test_an_input_of_several_dimensions_is_made_of_as_many_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet", **{f"x[{place}]": [float(place)] for place in range(4)})
    found = only(open_source(path, artifact.TensorSpec("x", "float32", (2, 2))))
    assert found.inputs["x"].tolist() == [[[0, 1], [2, 3]]]


def test_a_column_of_lists_becomes_an_input_of_several_dimensions(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet", x=[[0.0, 1.0, 2.0, 3.0]])
    found = only(open_source(path, artifact.TensorSpec("x", "float32", (2, 2))))
    assert found.inputs["x"].tolist() == [[[0, 1], [2, 3]]]


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_single_number_needs_no_list(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = table(tmp_path / "in.parquet", x=[1.0, 2.0])
    found = only(open_source(path, artifact.TensorSpec("x", "float32", shape)))
    assert found.inputs["x"].shape == (2, *shape)


def test_texts_and_numbers_are_inputs_beside_each_other(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet", x=[[1.0, 2.0]], kind=["red"])
    found = only(open_source(path, X, KIND))
    assert found.inputs["kind"].tolist() == ["red"]
    assert found.inputs["x"].tolist() == [[1, 2]]


def test_the_reason_of_a_row_that_is_wrong_twice_is_the_first(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet", x_0=[1.0, None], x_1=[1.0, float("nan")])
    found = only(open_source(path))
    assert found.wrong == [(1, "a value is missing")]
    assert found.numbers.tolist() == [0]


def test_ids_go_with_their_rows_past_wrong_ones(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet", id=["a", "b", "c"], x=[[1.0, 2.0], None, [5.0, 6.0]])
    source = open_source(path)
    found = only(source)
    assert (source.id_name, source.rows) == ("id", 3)
    assert found.ids is not None
    assert found.ids.tolist() == ["a", "c"]


def test_a_ragged_line_is_wrong_and_the_rows_around_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,x_0,x_1\na,1,2\nb,1\nc,5,6\n")
    found = only(open_source(tmp_path / "in.csv"))
    assert found.inputs["x"].tolist() == [[1, 2], [5, 6]]
    assert found.wrong == [(1, "it has 2 columns, the header has 3")]


def test_a_column_may_be_part_of_two_inputs_of_a_kind(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet", a=[1.0], b=[2.0])
    y = artifact.TensorSpec("y", "float32", (2,))
    found = only(open_source(path, X, y, columns={"x": ["a", "b"], "y": ["b", "a"]}))
    assert (found.inputs["x"].tolist(), found.inputs["y"].tolist()) == ([[1, 2]], [[2, 1]])


@pytest.mark.parametrize("id_name", [None, "a"])
def test_a_column_cannot_be_a_number_and_something_else(
    tmp_path: Path, id_name: str | None
) -> None:
    path = table(tmp_path / "in.parquet", a=[1.0], b=[2.0])
    whole = artifact.TensorSpec("n", "int64", ())
    source = open_source(path, X, whole, columns={"x": ["a", "b"], "n": ["a"]}, id_name=id_name)
    with pytest.raises(errors.InputError, match="column 'a' cannot be"):
        only(source)


def test_a_mapping_of_no_input_names_the_inputs(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet", a=[1.0])
    with pytest.raises(errors.InputError, match="no input 'y'; its inputs: x, kind"):
        open_source(path, X, KIND, columns={"y": ["a"]})


@pytest.mark.parametrize("name", ["in.json", "in", "in.parquet.gz", "in.pkl"])
def test_a_file_of_an_unknown_form_is_refused_with_the_known_ones(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(errors.InputError, match=r"\.parquet, \.csv, \.npz, \.npy"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.npz", "in.npy"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.InputError, match=f"there is no file .*{name}"):
        batch_inputs.names_of(tmp_path / name)


def test_the_names_of_a_file_are_its_columns_or_members(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    np.savez(tmp_path / "in.npz", a=np.ones(1), b=np.ones(1))
    np.save(tmp_path / "in.npy", np.ones(1))
    assert batch_inputs.names_of(table(tmp_path / "in.parquet", a=[1], b=[2])) == ("a", "b")
    assert batch_inputs.names_of(tmp_path / "in.csv") == ("a", "b")
    assert batch_inputs.names_of(tmp_path / "in.npz") == ("a", "b")
    assert batch_inputs.names_of(tmp_path / "in.npy") == ()
