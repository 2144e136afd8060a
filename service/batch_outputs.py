"""What offline scoring writes: parts in the form of the output, and the output made of them.

The same parts give the same bytes, so a job that was killed and resumed ends as one that was not.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from coppice import artifact, columnar, errors, files, runtime
from service import batch_rows

FORMS = (".parquet", ".csv", ".npz")

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member of a `.npz` file: the earliest that a zip file knows."""


def check(path: Path, manifest: artifact.Manifest, id_name: str | None) -> None:
    """Check whether an output can be written under that name, with those ids.

    Raises
    ------
    InputError
        The ending is unknown, or the ids go by a name that the output itself needs.
    EnvironmentProblem
        It needs pyarrow, which is not installed.
    """
    if path.suffix not in FORMS:
        message = f"{path}: the output's name ends in one of {', '.join(FORMS)}"
        raise errors.InputError(message)
    if path.suffix != ".npz":
        columnar.arrow()
    own = set(columns(blank(manifest), blank_scores(manifest), manifest, None, path.suffix))
    if id_name in own:
        message = f"the ids are called {id_name!r}, as a column of the output is; rename them"
        raise errors.InputError(message)


def blank(manifest: artifact.Manifest) -> batch_rows.Rows:
    """Return a stretch without rows."""
    inputs = {spec.name: np.empty((0, *spec.shape), spec.dtype) for spec in manifest.inputs}
    ids = np.empty(0, dtype=object)
    return batch_rows.Rows(np.empty(0, dtype=np.int64), inputs, ids, [], 1.0)


def blank_scores(manifest: artifact.Manifest) -> runtime.Floats:
    """Return the answers to no rows."""
    classes = len(manifest.classes)
    return np.empty((0, classes) if classes else (0,), dtype=np.float32)


def columns(
    rows: batch_rows.Rows,
    scores: runtime.Floats,
    manifest: artifact.Manifest,
    id_name: str | None,
    form: str,
) -> dict[str, batch_rows.Array]:
    """Return the columns of the output: row, ids, label, class and the score of each class.

    A regression has `row`, ids and `score`. In `.npz` files the scores are one member [rows,
    classes], and class names are listed once.
    """
    found: dict[str, batch_rows.Array] = {"row": rows.numbers}
    if id_name is not None and rows.ids is not None:
        found[id_name] = rows.ids
    if not manifest.classes:
        return {**found, "score": scores}
    found["label"] = scores.argmax(axis=1) if len(scores) else np.empty(0, dtype=np.int64)
    if form == ".npz":
        return {**found, "scores": scores}
    found["class"] = np.array(manifest.classes, dtype=object)[found["label"]]
    each = {f"score.{name}": scores[:, place] for place, name in enumerate(manifest.classes)}
    return {**found, **each}


def part(found: Mapping[str, batch_rows.Array], form: str) -> bytes:
    """Return a part of the output as the content of a file."""
    match form:
        case ".parquet":
            return columnar.parquet_bytes(found)
        case ".csv":
            return columnar.csv_bytes(found, header=False)
        case _:
            out = io.BytesIO()
            named: dict[str, Any] = {name: _unpickled(array) for name, array in found.items()}
            np.savez(out, **named)
            return out.getvalue()


def list_wrong(wrong: Sequence[tuple[int, str]], path: Path) -> None:
    """Write the rows that the output lacks, with the reasons; no file where it lacks none."""
    if not wrong:
        path.unlink(missing_ok=True)
        return
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerows([("row", "reason"), *wrong])
    files.replace(path, out.getvalue().encode())


def _unpickled(array: batch_rows.Array) -> batch_rows.Array:
    return array.astype(str) if array.dtype.kind == "O" else array


def join(
    parts: Sequence[Path],
    target: Path,
    form: str,
    *,
    names: Sequence[str],
    manifest: artifact.Manifest,
    version: str,
) -> None:
    """Make the output of its parts, one of which is in memory at a time; it is on the disk then.

    Parameters
    ----------
    parts
        The parts in order, at least one.
    target
        The file to write.
    form
        The ending of the output's name.
    names
        The columns, in order.
    manifest, version
        Of the version that answered.
    """
    match form:
        case ".parquet":
            columnar.join_parquet(parts, target, {"coppice.version": version})
        case ".csv":
            with target.open("wb") as out:
                header = {name: np.empty(0, dtype=np.int64) for name in names}
                out.write(columnar.csv_bytes(header, header=True))
                for path in parts:
                    with path.open("rb") as stream:
                        shutil.copyfileobj(stream, out, 2**20)
        case _:
            _join_arrays(parts, target, names, {"classes": np.array(manifest.classes, dtype=str)})
    with target.open("rb") as written:
        os.fsync(written.fileno())


def _join_arrays(
    parts: Sequence[Path],
    target: Path,
    names: Sequence[str],
    constants: Mapping[str, batch_rows.Array],
) -> None:
    with zipfile.ZipFile(target, "w") as packed:
        for name in names:
            dtype = np.result_type(*[array.dtype for array in _arrays(parts, name)])
            rows = sum(len(array) for array in _arrays(parts, name))
            with _member(packed, name) as out:
                shape = (rows, *next(_arrays(parts, name)).shape[1:])
                _write_header(out, shape, dtype)
                for array in _arrays(parts, name):
                    out.write(array.astype(dtype).tobytes())
        for name, array in constants.items():
            if len(array):
                with _member(packed, name) as out:
                    _write_header(out, array.shape, array.dtype)
                    out.write(array.tobytes())


def _arrays(parts: Sequence[Path], name: str) -> Iterator[batch_rows.Array]:
    for path in parts:
        with np.load(path, allow_pickle=False) as loaded:
            yield loaded[name]


def _member(packed: zipfile.ZipFile, name: str) -> IO[bytes]:
    # A part may be small and the whole beyond 4 GiB, which a zip file must know beforehand.
    return packed.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w", force_zip64=True)


def _write_header(out: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(out, described)
