"""Where the rows of offline scoring come from: tables, and files of arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from coppice import artifact, columnar, errors, tables
from service import batch_arrays, batch_columns, batch_rows

FORMS = (".parquet", ".csv", ".npz", ".npy")


def open_source(
    path: Path, manifest: artifact.Manifest, *, columns: batch_columns.Mapped, id_name: str | None
) -> batch_rows.Source:
    """Open a file of rows for a model.

    Parameters
    ----------
    path
        Its ending says what it is: one of `FORMS`.
    manifest
        What the model takes.
    columns
        The columns of inputs that do not go by their own name.
    id_name
        The column or member with ids; by default `id`, where there is one.

    Raises
    ------
    InputError
        The file cannot be read, or lacks what the model takes.
    """
    _check(path)
    for name in columns:
        if name not in {spec.name for spec in manifest.inputs}:
            known = ", ".join(spec.name for spec in manifest.inputs)
            message = f"--columns: the model has no input {name!r}; its inputs: {known}"
            raise errors.InputError(message)
    if path.suffix in {".npz", ".npy"}:
        return batch_arrays.ArraySource(path, manifest, columns=columns, id_name=id_name)
    return TableSource(tables.open_table(path), manifest, columns=columns, id_name=id_name)


def names_of(path: Path) -> tuple[str, ...]:
    """Return the columns of a table, or the members of a file of arrays.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    _check(path)
    if path.suffix in {".npz", ".npy"}:
        return batch_arrays.members(path)
    return tables.open_table(path).names


def _check(path: Path) -> None:
    if path.suffix not in FORMS:
        message = f"{path} is no file of rows; its name ends in one of {', '.join(FORMS)}"
        raise errors.InputError(message)
    if not path.is_file():
        message = f"there is no file {path}"
        raise errors.InputError(message)


class TableSource:
    """Rows of a Parquet or CSV file; see `batch_rows.Source`."""

    def __init__(
        self,
        table: tables.Table,
        manifest: artifact.Manifest,
        *,
        columns: batch_columns.Mapped,
        id_name: str | None,
    ) -> None:
        self._table = table
        self._specs = manifest.inputs
        self.columns = batch_columns.resolve(manifest, table.names, columns)
        used = [name for mapped in self.columns.values() for name in mapped]
        self.id_name = batch_columns.id_name(id_name, table.names, used)
        self.rows = table.rows
        self.row_bytes = 0
        """Texts of tables are as long as they are, so nothing is known beforehand."""

    def stretches(self, rows: int, skip: int) -> Iterator[batch_rows.Rows]:
        """Yield stretches; see `batch_rows.Source.stretches`."""
        wanted = self._wanted()
        for stretch in self._table.stretches(wanted, rows, skip):
            wrong: dict[int, str] = {}
            for column in stretch.columns.values():
                wrong = {**column.wrong, **wrong}
            inputs = {spec.name: self._assemble(spec, stretch) for spec in self._specs}
            ids = stretch.columns[self.id_name].values if self.id_name else None
            ragged = list(stretch.ragged.items())
            whole = batch_rows.Rows(stretch.numbers, inputs, ids, ragged, stretch.share)
            yield batch_rows.sift(whole, wrong)

    def _wanted(self) -> dict[str, columnar.Wanted]:
        wanted: dict[str, columnar.Wanted] = {}
        if self.id_name is not None:
            wanted[self.id_name] = columnar.Wanted(None)
        for spec in self._specs:
            dtype, size = np.dtype(spec.dtype), math.prod(spec.shape)
            for name in self.columns[spec.name]:
                lists = spec.shape != () and len(self.columns[spec.name]) == 1 and size > 1
                one = columnar.Wanted(dtype, size if lists else None)
                if wanted.setdefault(name, one) != one:
                    message = f"column {name!r} cannot be ids, or two inputs of different kinds"
                    raise errors.InputError(message)
        return wanted

    def _assemble(self, spec: artifact.TensorSpec, stretch: tables.Stretch) -> batch_rows.Array:
        columns = [stretch.columns[name].values for name in self.columns[spec.name]]
        if len(columns) == 1:
            return columns[0].reshape(len(columns[0]), *spec.shape)
        whole = np.empty((len(columns[0]), len(columns)), dtype=columns[0].dtype)
        for place, column in enumerate(columns):
            whole[:, place] = column
        return whole.reshape(len(whole), *spec.shape)
