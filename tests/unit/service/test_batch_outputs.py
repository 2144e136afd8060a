from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from coppice import artifact, errors
from service import batch_outputs, batch_rows

CLASSES = ("no", "yes")


def manifest(*classes: str) -> artifact.Manifest:
    return artifact.Manifest(
        name="m",
        task="binary" if classes else "regression",
        classes=classes,
        inputs=(artifact.TensorSpec("x", "float32", (2,)),),
        accepted=1.0,
        accepted_rows=1,
        created_at=0.0,
    )


def rows(*numbers: int, ids: bool = True) -> batch_rows.Rows:
    found = np.array([f"r{number}" for number in numbers], dtype=object) if ids else None
    return batch_rows.Rows(np.array(numbers, dtype=np.int64), {}, found, [], 1.0)


def scores(*yes: float) -> Any:
    return np.array([[1 - one, one] for one in yes], dtype=np.float32)


def columns(found: batch_rows.Rows, yes: Any, form: str) -> dict[str, batch_rows.Array]:
    return batch_outputs.columns(found, yes, manifest(*CLASSES), "id", form)


class TestColumns:
    def test_each_class_has_a_column_and_the_likeliest_is_the_label(self) -> None:
        found = columns(rows(4, 6), scores(0.25, 0.75), ".csv")
        assert list(found) == ["row", "id", "label", "class", "score.no", "score.yes"]
        assert found["row"].tolist() == [4, 6]
        assert found["id"].tolist() == ["r4", "r6"]
        assert (found["label"].tolist(), found["class"].tolist()) == ([0, 1], ["no", "yes"])
        assert found["score.yes"].tolist() == [0.25, 0.75]

    def test_in_a_file_of_arrays_scores_stay_together(self) -> None:
        found = columns(rows(4), scores(0.25), ".npz")
        assert list(found) == ["row", "id", "label", "scores"]
        assert found["scores"].shape == (1, 2)

    def test_a_regression_has_its_score(self) -> None:
        values = np.array([1.5], np.float32)
        found = batch_outputs.columns(rows(0), values, manifest(), None, ".csv")
        assert {name: array.tolist() for name, array in found.items()} == {
            "row": [0],
            "score": [1.5],
        }

    def test_ids_that_nobody_named_are_left_out(self) -> None:
        found = batch_outputs.columns(rows(0), scores(0.5), manifest(*CLASSES), None, ".csv")
        assert "id" not in found

    @pytest.mark.parametrize("form", batch_outputs.FORMS)
    def test_no_rows_have_the_same_columns_as_rows(self, form: str) -> None:
        made = manifest(*CLASSES)
        empty = columns(batch_outputs.blank(made), batch_outputs.blank_scores(made), form)
        assert list(empty) == list(columns(rows(0), scores(0.5), form))
        assert {len(array) for array in empty.values()} == {0}

    def test_no_rows_of_a_regression_have_no_classes(self) -> None:
        assert batch_outputs.blank_scores(manifest()).shape == (0,)


class TestCheck:
    @pytest.mark.parametrize("name", ["out.npy", "out", "out.parquet.gz", "out.CSV"])
    def test_an_ending_that_nothing_is_written_as_is_refused(self, name: str) -> None:
        with pytest.raises(errors.InputError, match=r"ends in one of \.parquet, \.csv, \.npz"):
            batch_outputs.check(Path(name), manifest(*CLASSES), None)

    @pytest.mark.parametrize("name", ["row", "label", "class", "score.yes"])
    def test_ids_that_go_by_the_name_of_an_output_are_refused(self, name: str) -> None:
        with pytest.raises(errors.InputError, match="rename them"):
            batch_outputs.check(Path("out.csv"), manifest(*CLASSES), name)

    def test_a_name_that_only_another_form_needs_is_free(self) -> None:
        batch_outputs.check(Path("out.npz"), manifest(*CLASSES), "class")
        batch_outputs.check(Path("out.csv"), manifest(*CLASSES), "scores")

    @pytest.mark.parametrize("form", [".csv", ".parquet"])
    def test_tables_need_pyarrow(self, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(errors.EnvironmentProblem, match=r"coppice\[parquet\]"):
            batch_outputs.check(Path(f"out{form}"), manifest(*CLASSES), None)

    def test_arrays_need_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        batch_outputs.check(Path("out.npz"), manifest(*CLASSES), None)


def join(folder: Path, form: str, *parts: dict[str, batch_rows.Array]) -> Path:
    """Write parts, and the output of them."""
    paths = [folder / f"part-{number}" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(batch_outputs.part(part, form))
    target = folder / f"out{form}"
    batch_outputs.join(
        paths, target, form, names=list(parts[0]), manifest=manifest(*CLASSES), version="m-abc"
    )
    return target


class TestJoin:
    def test_csv_has_one_header_and_the_parts_in_order(self, tmp_path: Path) -> None:
        parts = [columns(rows(0), scores(0.25), ".csv"), columns(rows(2), scores(0.75), ".csv")]
        assert join(tmp_path, ".csv", *parts).read_text() == (
            '"row","id","label","class","score.no","score.yes"\n'
            '0,"r0",0,"no",0.75,0.25\n'
            '2,"r2",1,"yes",0.25,0.75\n'
        )

    def test_an_id_with_a_comma_or_a_quote_is_one_cell(self, tmp_path: Path) -> None:
        part = {"row": np.array([0]), "id": np.array(['a,"b"'], dtype=object)}
        with join(tmp_path, ".csv", part).open(newline="") as stream:
            assert list(csv.reader(stream)) == [["row", "id"], ["0", 'a,"b"']]

    def test_parquet_has_a_row_group_for_each_part_and_says_which_version(
        self, tmp_path: Path
    ) -> None:
        parts = [columns(rows(n), scores(0.5), ".parquet") for n in range(3)]
        file = pyarrow.parquet.ParquetFile(join(tmp_path, ".parquet", *parts))
        with file:
            assert file.metadata.num_row_groups == 3
            assert file.schema_arrow.metadata[b"coppice.version"] == b"m-abc"
            assert file.read()["row"].to_pylist() == [0, 1, 2]

    def test_texts_of_all_parts_fit_into_an_array(self, tmp_path: Path) -> None:
        parts = [columns(rows(n), scores(0.5), ".npz") for n in (1, 1000)]
        with np.load(join(tmp_path, ".npz", *parts), allow_pickle=False) as found:
            assert found["id"].tolist() == ["r1", "r1000"]
            assert found["scores"].tolist() == [[0.5, 0.5]] * 2
            assert found["classes"].tolist() == ["no", "yes"]

    @pytest.mark.parametrize("form", batch_outputs.FORMS)
    def test_the_same_parts_give_the_same_bytes(self, tmp_path: Path, form: str) -> None:
        part = columns(rows(0, 1), scores(0.25, 0.5), form)
        first = join(tmp_path, form, part).read_bytes()
        assert join(tmp_path, form, part).read_bytes() == first


class TestListWrong:
    def test_rows_and_reasons_are_listed(self, tmp_path: Path) -> None:
        path = tmp_path / "skipped.csv"
        batch_outputs.list_wrong([(3, "column 'a', says \"b\"")], path)
        with path.open(newline="") as stream:
            assert list(csv.reader(stream)) == [["row", "reason"], ["3", "column 'a', says \"b\""]]

    def test_an_old_list_goes_where_no_row_is_wrong(self, tmp_path: Path) -> None:
        path = tmp_path / "skipped.csv"
        path.write_text("of an earlier job")
        batch_outputs.list_wrong([], path)
        assert not path.exists()
