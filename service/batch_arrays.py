"""Rows of `.npz` and `.npy` files, read from the front and never whole."""

from __future__ import annotations

import contextlib
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from coppice import artifact, columnar, errors
from service import batch_columns, batch_rows

_IDS = "biufSUMm"
"""Kinds of arrays that can be ids: numbers, texts and times."""

_BROKEN = (
    *(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(RuntimeError, NotImplementedError),  # the words of zipfile for a password, or a compression
)


def members(path: Path) -> tuple[str, ...]:
    """Return the names in a `.npz` file; a `.npy` file has none.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    if path.suffix == ".npy":
        return ()
    with _explained(path), zipfile.ZipFile(path) as packed:
        return tuple(name.removesuffix(".npy") for name in packed.namelist())


class ArraySource:
    """Rows of a `.npz` or `.npy` file, read in order and never whole; see `batch_rows.Source`.

    Pickled arrays are refused.
    """

    def __init__(
        self,
        path: Path,
        manifest: artifact.Manifest,
        *,
        columns: batch_columns.Mapped,
        id_name: str | None,
    ) -> None:
        self._path = path
        self._specs = manifest.inputs
        names = members(path)
        self._members = {spec.name: columns.get(spec.name, [spec.name])[0] for spec in self._specs}
        if path.suffix == ".npy":
            if len(self._specs) > 1:
                message = f"the model has {len(self._specs)} inputs; put them into a .npz file"
                raise errors.InputError(message)
        elif missing := [name for name in self._members.values() if name not in names]:
            raise batch_columns.lacks(missing, names)
        self.id_name = batch_columns.id_name(id_name, names, list(self._members.values()))
        with contextlib.ExitStack() as opened:
            streams = self._open(opened)
            counts = {name: one.shape[0] for name, one in streams.items()}
            self.row_bytes = sum(one.row_bytes for one in streams.values())
        if len(set(counts.values())) > 1:
            message = f"{path}: members have different numbers of rows: {counts}"
            raise errors.InputError(message)
        self.rows: int | None = next(iter(counts.values()))

    def stretches(self, rows: int, skip: int) -> Iterator[batch_rows.Rows]:
        """Yield stretches; see `batch_rows.Source.stretches`."""
        total = self.rows or 0
        with contextlib.ExitStack() as opened:
            streams = self._open(opened)
            for stream in streams.values():
                stream.skip(min(total, skip * rows))
            for first in range(skip * rows, total, rows):
                count = min(rows, total - first)
                found = {name: stream.take(count) for name, stream in streams.items()}
                yield self._checked(first, found, (first + count) / total)

    def _checked(
        self, first: int, found: dict[str, batch_rows.Array], share: float
    ) -> batch_rows.Rows:
        ids = found.pop("", None)
        wrong: dict[int, str] = {}
        inputs: dict[str, batch_rows.Array] = {}
        for spec in self._specs:
            array = found[spec.name]
            if np.dtype(spec.dtype).kind == "O":
                if array.dtype.kind != "U":
                    message = f"member {spec.name!r} holds {array.dtype}, the model takes texts"
                    raise errors.InputError(message)
                inputs[spec.name] = array.astype(object)
                continue
            flat = array.reshape(len(array), -1)
            column = columnar.fit(flat.reshape(-1), np.dtype(spec.dtype), spec.name)
            inputs[spec.name] = column.values.reshape(array.shape)
            for place, reason in column.wrong.items():
                wrong.setdefault(place // flat.shape[1], reason)
        count = len(next(iter(found.values())))
        whole = batch_rows.Rows(np.arange(first, first + count), inputs, ids, [], share)
        return batch_rows.sift(whole, wrong)

    def _open(self, opened: contextlib.ExitStack) -> dict[str, _Stream]:
        with _explained(self._path):
            if self._path.suffix == ".npy":
                file = opened.enter_context(self._path.open("rb"))
                found = {self._specs[0].name: _Stream(file, self._path, self._path.name)}
            else:
                packed = opened.enter_context(zipfile.ZipFile(self._path))
                members = {**self._members, **({"": self.id_name} if self.id_name else {})}
                found = {
                    name: _Stream(
                        opened.enter_context(packed.open(f"{member}.npy")), self._path, member
                    )
                    for name, member in members.items()
                }
        for spec in self._specs:
            if found[spec.name].shape[1:] != spec.shape:
                message = (
                    f"{self._path}: {spec.name!r} has shape {list(found[spec.name].shape)}, "
                    f"expected {['rows', *spec.shape]}"
                )
                raise errors.InputError(message)
        if "" in found and (len(found[""].shape) != 1 or found[""].dtype.kind not in _IDS):
            message = (
                f"{self._path}: the ids in {self.id_name!r} are {found[''].dtype} of shape "
                f"{list(found[''].shape)}; one number or text for each row is needed"
            )
            raise errors.InputError(message)
        return found


class _Stream:
    """One array of a file, read from the front."""

    def __init__(self, file: Any, path: Path, name: str) -> None:
        self._file, self._path, self._name = file, path, name
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            message = f"{path}: {name!r} has the array format {version}, known are 1.0 and 2.0"
            raise errors.InputError(message)
        self.shape, fortran, self.dtype = read(file)
        if min(self.shape, default=0) < 0:
            message = f"{path}: {name!r} says that it has the shape {list(self.shape)}"
            raise errors.InputError(message)
        if self.dtype.hasobject or not self.shape or (fortran and len(self.shape) > 1):
            message = f"{path}: {name!r} must be rows of numbers or texts in C order, not pickled"
            raise errors.InputError(message)
        self.row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def skip(self, rows: int) -> None:
        """Pass over rows."""
        with _explained(self._path):
            self._file.seek(rows * self.row_bytes, 1)

    def take(self, rows: int) -> batch_rows.Array:
        """Read the next rows."""
        with _explained(self._path):
            data = self._file.read(rows * self.row_bytes)
        if len(data) != rows * self.row_bytes:
            message = f"{self._path} breaks off inside of {self._name!r}; it is not whole"
            raise errors.InputError(message)
        found: batch_rows.Array = np.frombuffer(data, dtype=self.dtype)
        if self.dtype.kind == "S":
            with _explained(self._path):
                found = np.char.decode(found, "utf-8")
        if self.dtype.kind == "U" and _is_broken(found):
            message = f"{self._path}: {self._name!r} has texts with halves of characters"
            raise errors.InputError(message)
        return found.reshape(rows, *self.shape[1:])


def _is_broken(texts: batch_rows.Array) -> bool:
    """Say whether texts hold what is no character: halves of pairs, or numbers beyond Unicode."""
    points = np.frombuffer(texts, dtype=np.dtype("u4").newbyteorder(texts.dtype.byteorder))
    return bool((((points >= 0xD800) & (points < 0xE000)) | (points > 0x10FFFF)).any())


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as cause:
        message = f"{path} cannot be read: {cause}"
        raise errors.InputError(message) from cause
