from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import artifact, errors
from service import batch_arrays, batch_rows
from service.batch_arrays import ArraySource

X = artifact.TensorSpec("x", "float32", (2,))
ROWS = np.arange(20, dtype=np.float32).reshape(10, 2)
"""Row n is [2n, 2n + 1]."""


def manifest(*specs: artifact.TensorSpec) -> artifact.Manifest:
    return artifact.Manifest(
        name="m", task="regression", inputs=specs, accepted=1.0, accepted_rows=1, created_at=0.0
    )


def packed(path: Path, **members: Any) -> Path:
    np.savez(path, **members)
    return path


def open_source(
    path: Path, *specs: artifact.TensorSpec, columns: Any = None, id_name: str | None = None
) -> ArraySource:
    return ArraySource(path, manifest(*(specs or (X,))), columns=columns or {}, id_name=id_name)


def read(source: ArraySource, rows: int = 4, skip: int = 0) -> list[batch_rows.Rows]:
    return list(source.stretches(rows, skip))


def test_stretches_are_read_in_order_and_the_last_is_what_is_left(tmp_path: Path) -> None:
    found = read(open_source(packed(tmp_path / "in.npz", x=ROWS)))
    assert [one.numbers.tolist() for one in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert np.concatenate([one.inputs["x"] for one in found]).tolist() == ROWS.tolist()
    assert [one.share for one in found] == [0.4, 0.8, 1.0]


@pytest.mark.parametrize("name", ["in.npz", "in.npy"])
@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_stretches_passed_over_leave_the_others_as_they_were(
    tmp_path: Path, name: str, skip: int
) -> None:
    save: Any = np.save if name == "in.npy" else lambda path, x: np.savez_compressed(path, x=x)
    save(tmp_path / name, ROWS)
    source = open_source(tmp_path / name)
    assert [one.numbers.tolist() for one in read(source, skip=skip)] == [
        one.numbers.tolist() for one in read(source)
    ][skip:]
    assert read(source, skip=2)[0].inputs["x"].tolist() == [[16, 17], [18, 19]]


def test_ids_go_with_their_rows(tmp_path: Path) -> None:
    path = packed(tmp_path / "in.npz", x=ROWS, id=np.array([f"r{n}" for n in range(10)]))
    source = open_source(path)
    assert source.id_name == "id"
    ids = read(source)[1].ids
    assert ids is not None
    assert ids.tolist() == ["r4", "r5", "r6", "r7"]


def test_members_of_other_names_are_mapped(tmp_path: Path) -> None:
    path = packed(tmp_path / "in.npz", pixels=ROWS, customer=np.arange(10))
    source = open_source(path, columns={"x": ["pixels"]}, id_name="customer")
    found = read(source)[0]
    assert found.inputs["x"].tolist() == ROWS[:4].tolist()
    assert found.ids is not None
    assert found.ids.tolist() == [0, 1, 2, 3]


def test_several_inputs_are_read_beside_each_other(tmp_path: Path) -> None:
    kind = artifact.TensorSpec("kind", "object", ())
    count = artifact.TensorSpec("count", "int64", ())
    path = packed(
        tmp_path / "in.npz", x=ROWS, kind=np.array(["a", "bb"] * 5), count=np.arange(10, 20)
    )
    found = read(open_source(path, X, kind, count))[2]
    assert found.inputs["x"].tolist() == ROWS[8:].tolist()
    assert (found.inputs["kind"].dtype, found.inputs["kind"].tolist()) == (object, ["a", "bb"])
    assert found.inputs["count"].tolist() == [18, 19]


def test_a_row_that_holds_no_number_is_wrong_alone(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[5, 1] = np.nan
    found = read(open_source(packed(tmp_path / "in.npz", x=rows)))[1]
    assert found.numbers.tolist() == [4, 6, 7]
    assert found.wrong == [(5, "column 'x' is NaN or infinite here")]


def test_numbers_of_another_width_become_what_the_model_takes(tmp_path: Path) -> None:
    found = read(open_source(packed(tmp_path / "in.npz", x=ROWS.astype(np.int32))))
    assert found[0].inputs["x"].dtype == np.float32


def test_a_file_without_rows_has_no_stretches(tmp_path: Path) -> None:
    source = open_source(packed(tmp_path / "in.npz", x=ROWS[:0]))
    assert (source.rows, read(source)) == (0, [])


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"y": ROWS}, "no column 'x'; it has 'y'"),
        ({"x": ROWS[:, :1]}, r"'x' has shape \[10, 1\], expected \['rows', 2\]"),
        ({"x": ROWS, "id": np.arange(9)}, "different numbers of rows"),
        ({"x": np.asfortranarray(ROWS)}, "C order"),
        ({"x": np.array([[None, 1]] * 3, dtype=object)}, "not pickled"),
        ({"x": np.float32(1)}, "must be rows"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_before_a_row_is_read(
    tmp_path: Path, members: dict[str, Any], problem: str
) -> None:
    path = packed(tmp_path / "in.npz", **members)
    with pytest.raises(errors.InputError, match=problem):
        open_source(path)


def test_a_text_where_the_model_takes_numbers_is_refused(tmp_path: Path) -> None:
    source = open_source(packed(tmp_path / "in.npz", x=ROWS.astype(str)))
    with pytest.raises(errors.InputError, match="column 'x' holds str"):
        read(source)


def test_a_number_where_the_model_takes_texts_is_refused(tmp_path: Path) -> None:
    source = open_source(
        packed(tmp_path / "in.npz", kind=np.arange(3)), artifact.TensorSpec("kind", "object", ())
    )
    with pytest.raises(errors.InputError, match="holds int64, the model takes texts"):
        read(source)


def test_a_single_array_is_not_enough_for_two_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", ROWS)
    with pytest.raises(errors.InputError, match="the model has 2 inputs"):
        open_source(tmp_path / "in.npy", X, artifact.TensorSpec("y", "float32", (2,)))


def test_an_array_that_is_cut_off_is_no_shorter_array(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", ROWS)
    content = (tmp_path / "in.npy").read_bytes()
    (tmp_path / "in.npy").write_bytes(content[:-1])
    source = open_source(tmp_path / "in.npy")
    with pytest.raises(errors.InputError, match="breaks off inside of"):
        read(source)


def test_a_member_whose_bytes_were_changed_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "in.npz", x=ROWS)
    content = path.read_bytes()
    place = content.index(ROWS.tobytes())
    path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    with pytest.raises(errors.InputError, match="cannot be read: Bad CRC"):
        read(open_source(path))


def test_an_array_of_a_format_to_come_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.npy").write_bytes(np.lib.format.magic(9, 0) + bytes(100))
    with pytest.raises(errors.InputError, match=r"\(9, 0\)"):
        open_source(tmp_path / "in.npy")


class TestMembers:
    def test_names_are_those_under_which_arrays_were_saved(self, tmp_path: Path) -> None:
        path = packed(tmp_path / "in.npz", x=ROWS, id=np.arange(10))
        assert batch_arrays.members(path) == ("x", "id")

    def test_a_single_array_has_no_name(self, tmp_path: Path) -> None:
        assert batch_arrays.members(tmp_path / "in.npy") == ()

    def test_what_is_no_archive_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "in.npz").write_bytes(b"nothing")
        with pytest.raises(errors.InputError, match=r"in\.npz cannot be read"):
            batch_arrays.members(tmp_path / "in.npz")

    def test_a_member_that_is_no_array_is_named(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "in.npz", "w") as archive:
            archive.writestr("x.npy", b"nothing")
        with pytest.raises(errors.InputError, match=r"in\.npz cannot be read"):
            open_source(tmp_path / "in.npz")


@pytest.mark.parametrize(
    "ids",
    [
        np.zeros((10, 2), dtype=int),
        np.zeros(10, dtype=complex),
        np.zeros(10, dtype=[("a", "i4")]),
        np.zeros(10, dtype="V4"),
    ],
)
def test_what_cannot_be_ids_is_refused_before_a_row_is_read(tmp_path: Path, ids: Any) -> None:
    with pytest.raises(errors.InputError, match="one number or text for each row is needed"):
        open_source(packed(tmp_path / "in.npz", x=ROWS, id=ids))


def test_ids_that_are_bytes_become_texts(tmp_path: Path) -> None:
    names = np.array(["\xe9".encode(), b"b"] * 5)
    (found,) = read(open_source(packed(tmp_path / "in.npz", x=ROWS, id=names)), rows=10)
    assert found.ids is not None
    assert found.ids.tolist() == ["\xe9", "b"] * 5


@pytest.mark.parametrize(
    "ids", [np.array(["a", "\ud800"] * 5), np.array(["a", "\ud800"] * 5, dtype=">U1")]
)
def test_ids_with_halves_of_characters_are_refused(tmp_path: Path, ids: Any) -> None:
    source = open_source(packed(tmp_path / "in.npz", x=ROWS, id=ids))
    with pytest.raises(errors.InputError, match="'id' has texts with halves of characters"):
        read(source)


def test_ids_that_are_bytes_of_no_text_are_refused(tmp_path: Path) -> None:
    source = open_source(packed(tmp_path / "in.npz", x=ROWS, id=np.array([b"\xff"] * 10)))
    with pytest.raises(errors.InputError, match="cannot be read: 'utf-8' codec"):
        read(source)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_a_compressed_member_that_is_broken_is_refused(tmp_path: Path, method: int) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(10, 2)).astype("f4"))
    with zipfile.ZipFile(tmp_path / "in.npz", "w", method) as written:
        written.write(tmp_path / "x.npy", "x.npy")
    content = bytearray((tmp_path / "in.npz").read_bytes())
    content[60:90] = bytes(30)
    (tmp_path / "in.npz").write_bytes(content)
    with pytest.raises(errors.InputError, match="cannot be read"):
        read(open_source(tmp_path / "in.npz"))


def test_fewer_rows_than_none_are_refused(tmp_path: Path) -> None:
    said = b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2), }"
    head = said.ljust(117) + b"\n"
    (tmp_path / "in.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + head)
    with pytest.raises(errors.InputError, match=r"says that it has the shape \[-3, 2\]"):
        open_source(tmp_path / "in.npy")


def test_it_is_known_beforehand_what_a_row_takes(tmp_path: Path) -> None:
    wide = np.array(["a" * 1000] * 10)
    # Two float32, and a thousand characters of four bytes.
    assert open_source(packed(tmp_path / "in.npz", x=ROWS, id=wide)).row_bytes == 2 * 4 + 4000
