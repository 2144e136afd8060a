"""Tensors as the Open Inference Protocol writes them: datatype names, JSON lists and raw bytes.

Pure: bytes in, arrays out, and back. Raw bytes become arrays without a copy wherever the processor
allows it. Texts (BYTES) are `str` in arrays of objects, because the runtime takes nothing else, so
bytes that are not UTF-8 are refused. Whatever does not fit its own description is refused with the
name of the tensor.

References
----------
Open Inference Protocol, https://github.com/kserve/open-inference-protocol, and its binary tensor
data extension.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from coppice import errors, numbers, records

Array: TypeAlias = npt.NDArray[np.generic]

MAX_RANK = 8
"""More dimensions than any model takes; bounds the work that a hostile shape can cause."""

MAX_SIDE = 2**40
"""A dimension that no memory holds; larger ones are refused before anything is computed."""

MAX_ELEMENTS = 2**48
"""More elements than any memory holds, even where a dimension of 0 says that there are none."""

BYTES = "BYTES"

_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": numbers.BFLOAT16,
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
NAMES = (*_DTYPES, BYTES)
"""Every datatype of the protocol."""

_DATATYPES = {dtype.name: name for name, dtype in _DTYPES.items()} | {"object": BYTES}
_ELEMENTS: dict[str, type] = {"b": bool, "u": int, "i": int, "f": float, "V": float, "O": str}
"""What a JSON list of a kind of dtype holds; bfloat16 is of the kind V."""


def datatype(dtype: str) -> str:
    """Return the protocol's name of a numpy dtype.

    >>> datatype("float32")
    'FP32'
    """
    return _DATATYPES[dtype]


def dtype_of(name: str, kind: str) -> np.dtype[Any]:
    """Return the numpy dtype of a datatype; texts are objects.

    Raises
    ------
    RequestError
        The datatype is not one of the protocol's.
    """
    dtype = np.dtype(object) if kind == BYTES else _DTYPES.get(kind)
    if dtype is None:
        known = ", ".join(NAMES)
        message = f"tensor {name!r} has the unknown datatype {kind[:40]!r}; known: {known}"
        raise errors.RequestError(message)
    return dtype


def elements(name: str, shape: Sequence[int]) -> int:
    """Return how many elements a shape holds.

    >>> elements("x", [2, 3])
    6

    Raises
    ------
    RequestError
        A dimension is negative, or there are more dimensions or elements than any model takes.
    """
    if (
        len(shape) > MAX_RANK
        or (shape and not 0 <= min(shape) <= max(shape) <= MAX_SIDE)
        or math.prod(filter(None, shape)) > MAX_ELEMENTS
    ):
        message = (
            f"tensor {name[:80]!r} has shape {str(list(shape[: MAX_RANK + 1]))[:80]}; dimensions "
            f"are at least 0 and at most {MAX_SIDE}, at most {MAX_RANK} of them, and multiply to "
            f"at most {MAX_ELEMENTS}"
        )
        raise errors.RequestError(message)
    return math.prod(shape)


def from_bytes(name: str, kind: str, shape: Sequence[int], data: memoryview) -> Array:
    """Read a tensor from raw little-endian bytes, sharing them where they are aligned.

    >>> from_bytes("x", "INT16", [2], memoryview(bytes([1, 0, 2, 0]))).tolist()
    [1, 2]

    Raises
    ------
    RequestError
        The datatype is unknown, or the bytes are not as many as the shape needs.
    """
    dtype, count = _layout(name, kind, tuple(shape))
    if kind == BYTES:
        return _texts(name, count, data).reshape(shape)
    if len(data) != count * dtype.itemsize:
        message = (
            f"tensor {name!r} has {len(data)} bytes of binary data, but {kind} {list(shape)} "
            f"takes {count * dtype.itemsize}"
        )
        raise errors.RequestError(message)
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    if kind == "BOOL" and count and int(array.view(np.uint8).max()) > 1:
        message = f"tensor {name!r} is BOOL, but holds bytes other than 0 and 1"
        raise errors.RequestError(message)
    return array if array.flags.aligned else array.copy()


@functools.lru_cache(maxsize=256)
def _layout(name: str, kind: str, shape: tuple[int, ...]) -> tuple[np.dtype[Any], int]:
    """Return dtype and number of elements; remembered, for clients send the same shape again."""
    return dtype_of(name, kind), elements(name, shape)


def _texts(name: str, count: int, data: memoryview) -> npt.NDArray[np.object_]:
    """Read texts, each behind its length in four little-endian bytes."""
    found: list[str] = []
    offset = 0
    while offset + 4 <= len(data) and len(found) < count:
        (length,) = struct.unpack_from("<I", data, offset)
        offset += 4 + length
        if offset > len(data):
            break
        found.append(text(name, data[offset - length : offset]))
    if len(found) != count or offset != len(data):
        message = f"tensor {name!r}: its bytes do not hold exactly {count} texts with their lengths"
        raise errors.RequestError(message)
    array = np.empty(count, dtype=object)
    array[:] = found
    return array


def text(name: str, data: memoryview | bytes) -> str:
    """Return one text of a tensor.

    Raises
    ------
    RequestError
        The bytes are not UTF-8.
    """
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as cause:
        message = f"tensor {name!r}: the model takes texts, and these bytes are no UTF-8: {cause}"
        raise errors.RequestError(message) from cause


def from_json(name: str, kind: str, shape: Sequence[int], data: msgspec.Raw) -> Array:
    """Read a tensor from a JSON list, flat or nested like the shape.

    >>> from_json("x", "FP32", [2, 2], msgspec.Raw(b"[[1, 2], [3, 4.5]]")).tolist()
    [[1.0, 2.0], [3.0, 4.5]]

    Raises
    ------
    RequestError
        The datatype is unknown; the list is not JSON, holds elements of another kind, is ragged,
        or is not of the shape; or an integer does not fit the datatype.
    """
    dtype = dtype_of(name, kind)
    depth = _depth(data)
    if depth not in {1, len(shape)}:
        message = f"tensor {name!r}: `data` is nested {depth} deep, its shape is {list(shape)}"
        raise errors.RequestError(message)
    try:
        nested = _decoder(dtype.kind, depth).decode(data)
    except (msgspec.MsgspecError, ValueError) as cause:
        raise _misfit(name, kind, shape, cause) from cause
    return from_values(name, kind, shape, nested)


def from_values(name: str, kind: str, shape: Sequence[int], values: Sequence[Any]) -> Array:
    """Read a tensor from its elements, flat or nested like the shape.

    Raises
    ------
    RequestError
        The datatype is unknown; there are not as many as the shape takes, or they are nested in
        another shape; or one does not fit the datatype.
    """
    count = elements(name, shape)
    try:
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as that
            array: npt.NDArray[Any] = np.array(values, dtype=dtype_of(name, kind))
    except (ValueError, OverflowError) as cause:
        raise _misfit(name, kind, shape, cause) from cause
    if array.size != count or (array.ndim != 1 and array.shape != tuple(shape)):
        message = f"tensor {name!r}: `data` has shape {list(array.shape)}, not {list(shape)}"
        raise errors.RequestError(message)
    return array.reshape(shape)


def _misfit(name: str, kind: str, shape: Sequence[int], cause: Exception) -> errors.RequestError:
    message = f"tensor {name!r}: `data` is not a list of {kind} {list(shape)}: {cause}"
    return errors.RequestError(message)


def _depth(data: msgspec.Raw) -> int:
    """Count the brackets that a list opens with."""
    start = bytes(memoryview(data)[:64]).translate(None, b" \t\r\n")
    return max(1, len(start) - len(start.lstrip(b"[")))


@functools.cache
def _decoder(kind: str, depth: int) -> msgspec.json.Decoder[Any]:
    """Return a decoder that refuses elements of another kind; strings never become numbers."""
    element: Any = _ELEMENTS[kind]
    for _ in range(depth):
        element = list[element]
    return msgspec.json.Decoder(element)


def to_bytes(array: npt.NDArray[Any]) -> bytes:
    """Write a tensor as raw little-endian bytes.

    >>> list(to_bytes(np.array([1, 2], dtype=np.int16)))
    [1, 0, 2, 0]
    """
    if array.dtype.kind == "O":
        raw = [text.encode() for text in array.flat]
        return b"".join(part for text in raw for part in (struct.pack("<I", len(text)), text))
    return records.little_endian(array)


def to_json(array: npt.NDArray[Any]) -> list[Any]:
    """Write a tensor as a flat list.

    >>> to_json(np.array([[1, 2]]))
    [1, 2]
    """
    values: list[Any] = array.ravel().tolist()
    return values
