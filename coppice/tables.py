"""Files of rows (Parquet and CSV), read stretch by stretch.

A reader never holds more than one stretch of rows and, of Parquet, one row group of the wanted
columns. Rows are numbered from 0; a CSV file's header is none.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from coppice import columnar, errors

CSV_BLOCK = 2**20
"""Bytes of a CSV file that are parsed at a time."""


class Stretch(NamedTuple):
    """Rows that follow each other in a file."""

    numbers: npt.NDArray[np.int64]
    """Which rows of the file they are, from 0."""
    columns: Mapping[str, columnar.Column]
    ragged: Mapping[int, str]
    """Rows of the file, by number, that could not be split into columns; they are in no column."""
    share: float
    """Share of the file that is read, with this stretch."""


class Table(Protocol):
    """A file of rows that is open for reading."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        ...

    @property
    def rows(self) -> int | None:
        """How many rows there are; `None` where that is known at the end only."""
        ...

    def stretches(
        self, wanted: Mapping[str, columnar.Wanted], rows: int, skip: int = 0
    ) -> Iterator[Stretch]:
        """Yield stretches of `rows` rows, the last of what is left.

        Parameters
        ----------
        wanted
            The columns.
        rows
            Rows of a stretch.
        skip
            Stretches to pass over.

        Raises
        ------
        InputError
            The file breaks off, or a column is of a type that cannot become what is wanted.
        """
        ...


def open_table(path: Path) -> Table:
    """Open a `.parquet` or `.csv` file.

    Raises
    ------
    InputError
        It is missing, or is no such file.
    EnvironmentProblem
        pyarrow is not installed.
    """
    return ParquetTable(path) if path.suffix == ".parquet" else CsvTable(path)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (columnar.arrow().ArrowException, OSError, ValueError) as cause:
        message = f"{path} cannot be read: {cause}"
        raise errors.InputError(message) from cause


class ParquetTable:
    """A Parquet file; see `Table`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _explained(path):
            # Columns of a row group are read through a buffer instead of whole.
            self._file = columnar.arrow().parquet.ParquetFile(
                path, buffer_size=2**20, pre_buffer=False
            )
            self.names: tuple[str, ...] = tuple(self._file.schema_arrow.names)
            self.rows: int | None = self._file.metadata.num_rows

    def stretches(
        self, wanted: Mapping[str, columnar.Wanted], rows: int, skip: int = 0
    ) -> Iterator[Stretch]:
        """Yield stretches; row groups of those passed over are not read; see `Table.stretches`."""
        start = skip * rows
        first, groups = self._from(start)
        total = max(1, self.rows or 0)
        batches = self._batches(groups, list(wanted), rows) if groups else ()
        for number, table in _cut(batches, rows, first, start):
            numbers = np.arange(number, number + table.num_rows)
            with _explained(self._path):
                columns = {
                    name: columnar.cast(table[name], one, name) for name, one in wanted.items()
                }
            yield Stretch(numbers, columns, {}, (number + table.num_rows) / total)

    def _from(self, start: int) -> tuple[int, list[int]]:
        """Return the first row to read, which begins a row group, and the row groups."""
        found = self._file.metadata
        before = 0
        for group in range(found.num_row_groups):
            if before + found.row_group(group).num_rows > start:
                return before, list(range(group, found.num_row_groups))
            before += found.row_group(group).num_rows
        return before, []

    def _batches(self, groups: list[int], names: list[str], rows: int) -> Iterator[Any]:
        with _explained(self._path):
            yield from self._file.iter_batches(
                rows, row_groups=groups, columns=names, use_threads=False
            )


class CsvTable:
    """A CSV file in UTF-8 with a header; an empty cell has no value; see `Table`."""

    rows: int | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                self.names = tuple(next(csv.reader(stream), ()))
        except (OSError, UnicodeDecodeError, csv.Error) as cause:
            message = f"{path} cannot be read: {cause}"
            raise errors.InputError(message) from cause
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if not self.names or repeated:
            why = f"has the columns {repeated} twice" if repeated else "is empty"
            message = f"{path} {why}; its first line must name each column once"
            raise errors.InputError(message)

    def stretches(
        self, wanted: Mapping[str, columnar.Wanted], rows: int, skip: int = 0
    ) -> Iterator[Stretch]:
        """Yield stretches; those passed over are parsed again; see `Table.stretches`."""
        ragged: dict[int, str] = {}
        size = max(1, self._path.stat().st_size)
        number = place = 0
        with self._path.open("rb") as stream:
            batches = self._batches(stream, list(wanted), ragged)
            for _, table in _cut(batches, rows):
                numbers = _skipping(number, table.num_rows, ragged)
                number = int(numbers[-1]) + 1
                here = {row: ragged.pop(row) for row in sorted(ragged) if row < number}
                place += 1
                if place > skip:
                    columns = {n: columnar.parse(table[n], one, n) for n, one in wanted.items()}
                    yield Stretch(numbers, columns, here, min(1.0, stream.tell() / size))
        if ragged and place >= skip:  # they are behind the last row
            nothing = {
                n: columnar.parse(columnar.arrow().array([], "string"), w, n)
                for n, w in wanted.items()
            }
            yield Stretch(np.empty(0, dtype=np.int64), nothing, ragged, 1.0)

    def _batches(self, stream: Any, names: list[str], ragged: dict[int, str]) -> Iterator[Any]:
        pa = columnar.arrow()

        def note(row: Any) -> str:
            # Rows are numbered from 1, and the header is the first.
            found = f"it has {row.actual_columns} columns, the header has {row.expected_columns}"
            ragged[row.number - 2] = found
            return "skip"

        with _explained(self._path):
            yield from pa.csv.open_csv(
                stream,
                # One thread, else rows have no numbers.
                read_options=pa.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
                parse_options=pa.csv.ParseOptions(
                    invalid_row_handler=note, newlines_in_values=True
                ),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=names,
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )


def _skipping(first: int, count: int, left_out: Iterable[int]) -> npt.NDArray[np.int64]:
    """Number rows onwards, without those that are left out.

    >>> _skipping(2, 3, [3, 9]).tolist()
    [2, 4, 5]
    """
    gaps = np.array([row for row in left_out if row >= first], dtype=np.int64)
    return np.setdiff1d(np.arange(first, first + count + len(gaps)), gaps)[:count]


def _cut(
    batches: Iterable[Any], rows: int, first: int = 0, start: int = 0
) -> Iterator[tuple[int, Any]]:
    """Cut batches that begin at row `first` into tables of `rows` rows, from row `start` on."""
    pa = columnar.arrow()
    waiting: list[Any] = []
    held, number, drop = 0, start, start - first
    for batch in batches:
        kept = batch.slice(drop)
        drop = max(0, drop - batch.num_rows)
        while held + kept.num_rows >= rows:
            taken = kept.slice(0, rows - held)
            yield number, pa.Table.from_batches([*waiting, taken])
            number, kept, waiting, held = number + rows, kept.slice(rows - held), [], 0
        if kept.num_rows:
            waiting.append(kept)
            held += kept.num_rows
    if held:
        yield number, pa.Table.from_batches(waiting)
