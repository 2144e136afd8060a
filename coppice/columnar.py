"""Columns of files as numpy arrays, and back: what a cell becomes, and why it cannot.

The only file that imports pyarrow, which is an extra: it is imported when a file is opened, and
whoever has not got it is told what to install. `coppice.tables` reads files with what is here.

A cell that cannot be what it should be stops nothing: its row is named with the reason, and whoever
reads decides.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import errors, numbers

Array: TypeAlias = npt.NDArray[Any]

_TAKES = {"f": "iuf", "V": "iuf", "i": "iu", "u": "iu", "b": "b"}
"""Kinds of numbers that become a kind of dtype; a text never becomes a number unasked."""

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_WHOLE = r"^\s*[+-]?\d{1,18}\s*$"
_TRUTH = r"^(true|false|True|False|TRUE|FALSE|0|1)$"


class Wanted(NamedTuple):
    """What a column should become."""

    dtype: np.dtype[Any] | None
    """`None`: whole numbers as int64, anything else as text."""
    width: int | None = None
    """Elements of each cell, where cells are lists."""


class Column(NamedTuple):
    """A column of a stretch: values [rows] or [rows, width], and the places that are no values."""

    values: Array
    wrong: Mapping[int, str]
    """Why, by place in the stretch; the value there means nothing."""


def arrow() -> Any:
    """Return the module `pyarrow`.

    Raises
    ------
    EnvironmentProblem
        It is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as cause:
        message = "Parquet and CSV need pyarrow: pip install 'coppice[parquet]', or take npz"
        raise errors.EnvironmentProblem(message) from cause
    return pa


def cast(column: Any, wanted: Wanted, name: str) -> Column:
    """Turn an Arrow column into numpy; see `Column`."""
    pa = arrow()
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    if wanted.width is not None:
        return _cast_lists(whole, wanted, name)
    wrong = _nulls(whole)
    kind = whole.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if wanted.dtype is None and not pa.types.is_integer(kind):
        return Column(np.array(whole.cast("string").to_pylist(), dtype=object), wrong)
    if wanted.dtype is not None and wanted.dtype.kind == "O":
        if not is_text:
            raise _wrong_type(name, str(kind), wanted.dtype)
        return Column(np.array(whole.to_pylist(), dtype=object), wrong)
    return _with(wrong, _numbers(whole, wanted.dtype or np.dtype(np.int64), name))


def _numbers(whole: Any, dtype: np.dtype[Any], name: str) -> Column:
    pa = arrow()
    kind = whole.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise _wrong_type(name, str(kind), dtype)
    if whole.null_count:
        whole = whole.fill_null(pa.scalar(0, "int8").cast(kind))
    return fit(whole.to_numpy(zero_copy_only=False), dtype, name)


def _cast_lists(whole: Any, wanted: Wanted, name: str) -> Column:
    """Turn a column of lists into an array [rows, width]."""
    pa = arrow()
    width, dtype = wanted.width or 0, wanted.dtype or np.dtype(np.float32)
    if not hasattr(whole.type, "value_type"):
        raise _wrong_type(name, str(whole.type), dtype, f"lists of {width}")
    wrong = _nulls(whole)
    lengths = whole.value_lengths().fill_null(width).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(lengths != width).tolist():
        wrong[row] = f"column {name!r} has {lengths[row]} elements here, not {width}"
    if wrong:
        blank = pa.array([[0] * width], pa.list_(whole.type.value_type))
        good = np.ones(len(whole), dtype=bool)
        good[list(wrong)] = False
        loose = whole.cast(pa.list_(whole.type.value_type))
        whole = pa.compute.if_else(pa.array(good), loose, blank[0])
    inner = whole.flatten()
    found = _with(_nulls(inner), _numbers(inner, dtype, name))
    for place, reason in found.wrong.items():
        wrong.setdefault(place // max(1, width), reason)
    return Column(found.values.reshape(len(whole), width), wrong)


def parse(column: Any, wanted: Wanted, name: str) -> Column:
    """Turn texts into what is wanted; an empty cell is no value."""
    pa = arrow()
    if wanted.dtype is None or wanted.dtype.kind == "O":
        return cast(column, wanted, name)
    if wanted.width is not None:
        raise _wrong_type(name, "text", wanted.dtype, f"lists of {wanted.width}")
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    pattern, kind = {
        "f": (_NUMBER, "double"),
        "V": (_NUMBER, "double"),
        "b": (_TRUTH, "bool"),
    }.get(wanted.dtype.kind, (_WHOLE, "int64"))
    wrong = _nulls(whole)
    try:
        parsed = whole.cast(kind)
    except pa.ArrowInvalid:
        fits = pa.compute.match_substring_regex(whole, pattern)
        for row in np.flatnonzero(
            ~fits.fill_null(pa.scalar(value=True)).to_numpy(zero_copy_only=False)
        ):
            wrong[int(row)] = f"column {name!r} holds {whole[int(row)].as_py()[:40]!r} here"
        trimmed = pa.compute.utf8_trim_whitespace(whole)
        parsed = pa.compute.if_else(fits, trimmed, pa.scalar(None, "string")).cast(kind)
    return _with(wrong, _numbers(parsed, wanted.dtype, name))


def fit(array: Array, dtype: np.dtype[Any], name: str) -> Column:
    """Turn numbers into a dtype; what is out of its range, NaN or infinite is wrong.

    >>> fit(np.array([1.0, np.nan]), np.dtype("float32"), "age")[1]
    {1: "column 'age' is NaN or infinite here"}

    Raises
    ------
    InputError
        Numbers of that kind never become this dtype.
    """
    if array.dtype.kind not in _TAKES.get(dtype.kind, ""):
        raise _wrong_type(name, array.dtype.name, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype, copy=False)
    if numbers.is_float(dtype):
        fine = np.isfinite(converted)
        reason = "is NaN or infinite here"
    elif array.dtype == dtype:
        return Column(converted, {})
    else:
        fine = converted == array
        reason = f"is out of the range of {dtype.name} here"
    if fine.all():
        return Column(converted, {})
    places = np.flatnonzero(~fine).tolist()
    return Column(converted, dict.fromkeys(places, f"column {name!r} {reason}"))


def _with(wrong: dict[int, str], column: Column) -> Column:
    return Column(column.values, {**column.wrong, **wrong})


def _nulls(whole: Any) -> dict[int, str]:
    if not whole.null_count:
        return {}
    places = np.flatnonzero(whole.is_null().to_numpy(zero_copy_only=False)).tolist()
    return dict.fromkeys(places, "a value is missing")


def _wrong_type(name: str, kind: str, dtype: np.dtype[Any], lists: str = "") -> errors.InputError:
    wanted = f"{lists} {dtype.name}".strip()
    message = f"column {name!r} holds {kind}, but the model takes {wanted}; convert it, or map"
    return errors.InputError(f"{message} another with --columns")


def parquet_bytes(columns: Mapping[str, Array]) -> bytes:
    """Return a Parquet file of one row group with these columns."""
    pa = arrow()
    out = io.BytesIO()
    pa.parquet.write_table(_table(columns), out)
    return out.getvalue()


def csv_bytes(columns: Mapping[str, Array], *, header: bool) -> bytes:
    """Return these columns as CSV."""
    pa = arrow()
    out = io.BytesIO()
    options = pa.csv.WriteOptions(include_header=header, quoting_style="needed")
    pa.csv.write_csv(_table(columns), out, options)
    return out.getvalue()


def _table(columns: Mapping[str, Array]) -> Any:
    pa = arrow()
    # Without values there would be no telling that a column holds texts.
    types = {name: pa.string() if a.dtype.kind in "OU" else None for name, a in columns.items()}
    return pa.table({name: pa.array(a, types[name]) for name, a in columns.items()})


def join_parquet(parts: Sequence[Path], target: Path, metadata: Mapping[str, str]) -> None:
    """Write files of one schema into one, a row group for each; one is in memory at a time."""
    pa = arrow()
    schema = pa.parquet.read_schema(parts[0]).with_metadata(dict(metadata))
    with pa.parquet.ParquetWriter(target, schema) as writer:
        for part in parts:
            writer.write_table(pa.parquet.read_table(part).replace_schema_metadata(metadata))


Write: TypeAlias = Callable[[Mapping[str, Sequence[str | None]]], None]


@contextlib.contextmanager
def text_writer(path: Path, names: Sequence[str]) -> Iterator[Write]:
    """Write a Parquet file of text columns, a row group for each call of what is yielded."""
    pa = arrow()
    schema = pa.schema([(name, pa.string()) for name in names])
    with pa.parquet.ParquetWriter(path, schema) as writer:
        yield lambda columns: writer.write_table(pa.table(dict(columns), schema=schema))
