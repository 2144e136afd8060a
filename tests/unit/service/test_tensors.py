"""Tensors between JSON, raw bytes and arrays."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from coppice import errors
from service import tensors

NUMBERS = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}


@st.composite
def described(draw: st.DrawFn) -> tuple[str, npt.NDArray[np.generic]]:
    kind = draw(st.sampled_from(sorted(NUMBERS)))
    shape = draw(arrays.array_shapes(max_dims=4, max_side=4))
    elements = {"allow_nan": False, "allow_infinity": False} if kind.startswith("FP") else None
    return kind, draw(arrays.arrays(NUMBERS[kind], shape, elements=elements))


def read(kind: str, shape: list[int], data: bytes) -> npt.NDArray[np.generic]:
    return tensors.from_bytes("x", kind, shape, memoryview(data))


def parse(kind: str, shape: list[int], data: str) -> npt.NDArray[np.generic]:
    return tensors.from_json("x", kind, shape, msgspec.Raw(data.encode()))


@given(described())
def test_what_is_written_as_bytes_is_read_back_the_same(
    pair: tuple[str, npt.NDArray[np.generic]],
) -> None:
    kind, array = pair
    found = read(kind, list(array.shape), tensors.to_bytes(array))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(described())
def test_what_is_written_as_json_is_read_back_the_same(
    pair: tuple[str, npt.NDArray[np.generic]],
) -> None:
    kind, array = pair
    text = msgspec.json.encode(tensors.to_json(array)).decode()
    found = parse(kind, list(array.shape), text)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(described())
def test_a_nested_list_reads_like_a_flat_one(pair: tuple[str, npt.NDArray[np.generic]]) -> None:
    kind, array = pair
    text = msgspec.json.encode(array.tolist()).decode()
    np.testing.assert_array_equal(parse(kind, list(array.shape), text), array)


@pytest.mark.parametrize("kind", sorted(NUMBERS))
def test_each_datatype_has_the_name_of_its_dtype(kind: str) -> None:
    assert tensors.datatype(NUMBERS[kind]) == kind


def test_aligned_bytes_are_shared_and_not_copied() -> None:
    data = bytearray(struct.pack("<2f", 1.0, 2.0))
    found = read("FP32", [2], memoryview(data))  # type: ignore[arg-type]
    data[0:4] = struct.pack("<f", 5.0)
    assert found.tolist() == [5.0, 2.0]


def test_bytes_at_an_odd_address_are_read_all_the_same() -> None:
    body = memoryview(b"_" + struct.pack("<2f", 1.0, 2.0))
    found = tensors.from_bytes("x", "FP32", [2], body[1:])
    assert found.flags.aligned
    assert found.tolist() == [1.0, 2.0]


def test_texts_travel_behind_their_lengths() -> None:
    found = read("BYTES", [2], b"\x02\x00\x00\x00hi\x00\x00\x00\x00")
    assert found.tolist() == ["hi", ""]
    assert tensors.to_bytes(found) == b"\x02\x00\x00\x00hi\x00\x00\x00\x00"


def test_texts_are_read_from_json() -> None:
    found = parse("BYTES", [2, 1], '[["a"], ["é"]]')
    assert found.tolist() == [["a"], ["é"]]
    assert tensors.to_json(found) == ["a", "é"]


@pytest.mark.parametrize(
    ("kind", "shape", "data", "message"),
    [
        ("FP32", [3], b"\0" * 8, "8 bytes .* takes 12"),
        ("FP32", [1], b"\0" * 8, "8 bytes .* takes 4"),
        ("FP32", [2**24, 2**24], b"", "takes"),
        ("FP32", [0, 2**40, 2**40], b"", "multiply to at most"),
        ("BYTES", [1], b"\x01\x00\x00\x00\xff", "no UTF-8"),
        ("FP32", [10**4000, 10**4000], b"", "at most 1099511627776"),
        ("FP32", [-1], b"", "at least 0"),
        ("FP32", [1] * 9, b"\0" * 4, "at most 8"),
        ("FP32", [1] * 5000, b"\0" * 4, "at most 8"),
        ("FP8", [1], b"\0", "unknown datatype"),
        ("BOOL", [2], b"\0\2", "other than 0 and 1"),
        ("BYTES", [1], b"\x05\x00\x00\x00hi", "exactly 1 texts"),
        ("BYTES", [1], b"\xff\xff\xff\xffhi", "exactly 1 texts"),
        ("BYTES", [1], b"\x01\x00\x00", "exactly 1 texts"),
        ("BYTES", [2**40], b"\x00\x00\x00\x00", "texts"),
        ("BYTES", [1], b"\x00\x00\x00\x00\x00\x00\x00\x00", "exactly 1 texts"),
    ],
)
def test_bytes_that_do_not_fit_their_description_are_refused(
    kind: str, shape: list[int], data: bytes, message: str
) -> None:
    with pytest.raises(errors.RequestError, match=message):
        read(kind, shape, data)


@pytest.mark.parametrize(
    ("kind", "shape", "data", "message"),
    [
        ("FP32", [2], "[1]", "has shape"),
        ("FP32", [2], "[1, 2, 3]", "has shape"),
        ("FP32", [2, 2], "[[1, 2], [3]]", "not a list of FP32"),
        ("FP32", [2, 2], "[[1, 2, 3, 4]]", r"has shape \[1, 4\]"),
        ("FP32", [2, 2], "[[[1, 2], [3, 4]]]", "nested 3 deep"),
        ("FP32", [2], '["1", "2"]', "Expected `float`, got `str`"),
        ("FP32", [2], "[true, false]", "Expected `float`, got `bool`"),
        ("FP32", [2], "[1, null]", "Expected `float`, got `null`"),
        ("FP32", [2], "[1, NaN]", "malformed"),
        ("FP32", [2], "[1, Infinity]", "malformed"),
        ("FP32", [2], "[1, ", "truncated"),
        ("FP32", [2], '{"0": 1}', "Expected `array`"),
        ("FP32", [], "1", "Expected `array`"),
        ("INT8", [1], "[300]", "out of bounds"),
        ("UINT8", [1], "[-1]", "out of bounds"),
        ("INT64", [1], "[1.5]", "Expected `int`"),
        ("INT64", [1], "[99999999999999999999]", "not a list of INT64"),
        ("BOOL", [1], "[1]", "Expected `bool`"),
        ("BYTES", [1], "[1]", "Expected `str`"),
        ("FP32", [-1], "[]", "at least 0"),
        ("FLOAT", [1], "[1]", "unknown datatype"),
    ],
)
def test_lists_that_do_not_fit_their_description_are_refused(
    kind: str, shape: list[int], data: str, message: str
) -> None:
    with pytest.raises(errors.RequestError, match=message):
        parse(kind, shape, data)


def test_a_number_too_large_for_float32_becomes_infinite_and_is_left_to_the_check() -> None:
    # The largest float32 is about 3.4e38.
    assert parse("FP32", [1], "[1e39]").tolist() == [float("inf")]


def test_blanks_before_a_nested_list_do_not_hide_its_depth() -> None:
    assert parse("FP32", [1, 2], " [ \n [1, 2]]").tolist() == [[1.0, 2.0]]


def test_a_row_of_no_elements_is_a_shape_like_any_other() -> None:
    assert parse("FP32", [0], "[]").shape == (0,)
    assert read("FP32", [0, 4], b"").shape == (0, 4)
