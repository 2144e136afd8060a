"""Whatever comes in is read or refused by name: no other error, and no work beyond its own size."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coppice import errors
from service import admission, http, protocol, tensors
from tests.support import fuzz

KINDS = st.sampled_from([*tensors.NAMES, "FP8", ""])
SIDES = st.sampled_from([-(2**63), -1, 0, 1, 2, 4, 2**31, 2**40, 2**41, 2**64, 10**300])
SHAPES = st.lists(SIDES, max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
TENSOR = st.fixed_dictionaries(
    {"name": st.text(max_size=5), "shape": SHAPES | JSON, "datatype": KINDS | JSON},
    optional={
        "parameters": st.fixed_dictionaries({"binary_data_size": SIDES | JSON}) | JSON,
        "data": JSON,
    },
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3)},
    optional={
        "id": JSON,
        "parameters": st.fixed_dictionaries({"binary_data_output": JSON}) | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": JSON, "parameters": JSON})) | JSON,
    },
)


def read(body: bytes, length: str | None = None) -> None:
    """Read a request; only a refusal that the client is told may come of it."""
    with contextlib.suppress(errors.RequestError):
        protocol.decode(body, length)


@given(REQUEST, st.binary(max_size=64))
@settings(max_examples=50)
def test_requests_of_any_fields_are_read_or_refused(request: Any, raw: bytes) -> None:
    head = json.dumps(request).encode()
    read(head)
    read(head + raw, str(len(head)))


@given(st.binary(max_size=200), st.none() | st.text(max_size=30))
def test_arbitrary_bytes_and_lengths_are_read_or_refused(body: bytes, length: str | None) -> None:
    read(body, length)


@given(st.integers(min_value=0, max_value=2**32))
def test_requests_that_are_nearly_right_are_read_or_refused(seed: int) -> None:
    ((body, headers),) = fuzz.bodies(1, seed)
    read(body, headers.get(protocol.HEADER_LENGTH))


@given(KINDS, SHAPES, st.binary(max_size=64))
def test_bytes_of_any_shape_are_read_or_refused(kind: str, shape: list[int], data: bytes) -> None:
    with contextlib.suppress(errors.RequestError):
        found = tensors.from_bytes("x", kind, shape, memoryview(data))
        assert list(found.shape) == shape


@given(KINDS, SHAPES, JSON | st.lists(JSON))
@settings(max_examples=50)
def test_lists_of_any_shape_are_read_or_refused(kind: str, shape: list[int], data: Any) -> None:
    with contextlib.suppress(errors.RequestError):
        found = tensors.from_json("x", kind, shape, msgspec.Raw(json.dumps(data).encode()))
        assert list(found.shape) == shape


@given(st.dictionaries(st.sampled_from([b"x-request-id", b"x-coppice-key"]), st.binary()), JSON)
def test_what_a_request_says_of_itself_is_read_or_refused(
    headers: dict[bytes, bytes], said: Any
) -> None:
    with contextlib.suppress(errors.RequestError):
        admission.admit(headers, admission.Claims(None, said, said), {})


HEAD = b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": '

LIES: list[tuple[bytes, str | None]] = [
    (HEAD + b"NaN}]}", None),
    (HEAD + b"[1, 2, 3, NaN]}]}", None),
    (HEAD + b"[" * 100_000 + b"]" * 100_000 + b"}]}", None),
    (HEAD + b'["\\ud800"]}]}', None),
    (HEAD + b"[1, 2, 3, 1" + b"0" * 5_000 + b"]}]}", None),
    (b'{"inputs": [], "inputs": 1}', None),
    (b'{"inputs": [{"name": "\xff\xfe", "shape": [], "datatype": "FP32", "data": []}]}', None),
    (b"{}", "1"),
    (b"{}", "-2"),
    (b"{}", "9" * 4_400),
    (b"{}", "\u0662"),
    (b"{}", ""),
]


@pytest.mark.parametrize(("body", "length"), LIES)
def test_known_lies_are_refused(body: bytes, length: str | None) -> None:
    with pytest.raises(errors.RequestError) as refusal:
        protocol.decode(body, length)
    # What is repeated of the request is cut, so that no refusal is larger than a page.
    assert (refusal.value.http_status, len(str(refusal.value)) < 4096) == (400, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "n" * 100_000},
        {"datatype": "d" * 100_000},
        {"shape": [10**300] * 1_000},
        {"parameters": {"binary_data_size": "s" * 100_000}},
    ],
)
def test_a_refusal_repeats_no_more_than_it_needs(fields: dict[str, Any]) -> None:
    one = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1], **fields}
    with pytest.raises(errors.RequestError) as refusal:
        protocol.decode(json.dumps({"inputs": [one]}).encode())
    assert len(str(refusal.value)) < 1024


def peak(body: bytes, length: str | None = None) -> int:
    """The most memory that reading a body takes, bytes."""
    tracemalloc.start()
    try:
        read(body, length)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_small_request_for_a_huge_tensor_takes_no_memory() -> None:
    one = {"name": "x", "shape": [2**40], "datatype": "FP64", "data": []}
    binary = {**one, "parameters": {"binary_data_size": 2**43}}
    del binary["data"]
    texts = struct.pack("<I", 2**32 - 1) * 100
    many = {**binary, "datatype": "BYTES", "parameters": {"binary_data_size": len(texts)}}
    head = json.dumps({"inputs": [many]}).encode()
    # Each of these bodies has less than 1,000 bytes; a megabyte leaves room for what Python needs.
    assert peak(json.dumps({"inputs": [one]}).encode()) < 2**20
    assert peak(json.dumps({"inputs": [binary]}).encode()) < 2**20
    assert peak(head + texts, str(len(head))) < 2**20


def test_binary_tensors_are_read_without_a_copy() -> None:
    size = 2**22
    one = {
        "name": "x",
        "shape": [size],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": size},
    }
    head = json.dumps({"inputs": [one]}).encode()
    assert peak(head + bytes(size), str(len(head))) < size // 4


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
def test_a_compressed_response_is_the_response(body: bytes, coding: bytes) -> None:
    found = http.compressed(http.Response(200, body), {b"accept-encoding": coding})
    assert (b"content-encoding", coding) in found.headers
    assert zlib.decompress(found.body, zlib.MAX_WBITS | 32) == body


@pytest.mark.parametrize("said", [None, b"gzip, deflate", b"identity", b"*", b"br"])
def test_a_response_is_not_compressed_out_of_habit(said: bytes | None) -> None:
    headers = {} if said is None else {b"accept-encoding": said}
    whole = http.Response(200, b"1234")
    assert http.compressed(whole, headers) is whole
