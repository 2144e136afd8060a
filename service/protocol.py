"""The Open Inference Protocol, version 2: requests and answers, in JSON and with binary tensors.

Pure functions between bytes and arrays; what a model takes is checked elsewhere
(`coppice.artifact.check_inputs`). With binary tensors the body is the JSON, whose length stands in
the header `Inference-Header-Content-Length`, followed by the raw tensors in their order.

References
----------
Open Inference Protocol, https://github.com/kserve/open-inference-protocol, and its binary tensor
data extension.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from coppice import errors, records
from service import tensors

HEADER_LENGTH = "inference-header-content-length"

MAX_TENSORS = 1024
"""More inputs or outputs than any model has; bounds what is repeated in a refusal."""

MAX_NAME = 256

MAX_REMEMBERED = 1024
"""Longest header, in bytes, that is remembered as read: clients repeat theirs."""

_UNSPOKEN = ("classification", "shared_memory_region")
"""Parameters of an output that would change its meaning, so that they cannot be passed over."""


class _Tensor(msgspec.Struct):
    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Body(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_Output] | None = None


_DECODER = msgspec.json.Decoder(_Body)
_ENCODER = msgspec.json.Encoder()


class Wanted(NamedTuple):
    """Which outputs a client asked for: `None` names all; `binary` says which travel as bytes."""

    names: tuple[str, ...] | None
    binary: Mapping[str, bool]
    otherwise_binary: bool


class Request(NamedTuple):
    """An inference request as it came in, decoded but not yet checked against a model."""

    id: str | None
    inputs: dict[str, tensors.Array]
    parameters: Mapping[str, Any]
    wanted: Wanted


class _Header(NamedTuple):
    """What the JSON of a request says."""

    id: str | None
    inputs: list[_Tensor]
    parameters: Mapping[str, Any]
    wanted: Wanted


class Answer(NamedTuple):
    """Who answers, and with what; `id` repeats the request's."""

    id: str
    model: str
    version: str
    outputs: Mapping[str, tensors.Array]


class Encoded(NamedTuple):
    """An answer on the wire: the parts of its body, and the JSON's length where bytes follow."""

    body: bytes
    header_length: int | None


def decode(body: bytes, header_length: str | None = None) -> Request:
    """Read an inference request.

    >>> body = b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}'
    >>> decode(body).inputs["x"].tolist()
    [1.0, 2.0]

    Parameters
    ----------
    body
        The whole body.
    header_length
        The value of `Inference-Header-Content-Length`, where the client sent one.

    Raises
    ------
    RequestError
        It is malformed: not JSON, fields missing or of the wrong type, sizes that lie, or tensors
        that do not match their own description.
    """
    length = _header_length(header_length, len(body))
    view = memoryview(body)
    # With the numbers behind it, a client's header is the same from one request to the next.
    again = length < len(body) and length <= MAX_REMEMBERED
    header = _remembered(body[:length]) if again else _header(view[:length])
    inputs = _inputs(header.inputs, view[length:])
    return Request(header.id, inputs, header.parameters, header.wanted)


def _header(text: bytes | memoryview) -> _Header:
    try:
        parsed = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
        message = f"the body is not an inference request: {cause}"
        raise errors.RequestError(message) from cause
    said = parsed.parameters or {}
    asked = [(output.name, output.parameters or {}) for output in parsed.outputs or ()]
    everything = flag(said, "binary_data_output", default=False)
    return _Header(parsed.id, parsed.inputs, said, wanted(asked, otherwise_binary=everything))


@functools.lru_cache(maxsize=256)
def _remembered(text: bytes) -> _Header:
    return _header(text)


def _header_length(text: str | None, size: int) -> int:
    if text is None:
        return size
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) <= size:
        message = (
            f"Inference-Header-Content-Length is {text[:20]!r}, but the body has {size} bytes; "
            "send the length of its JSON"
        )
        raise errors.RequestError(message)
    return int(text[:20])


def _inputs(parsed: list[_Tensor], rest: memoryview) -> dict[str, tensors.Array]:
    found: dict[str, tensors.Array] = {}
    offset = 0
    for tensor in parsed:
        check_name(tensor.name, found)
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            found[tensor.name] = _from_json(tensor)
            continue
        found[tensor.name] = _from_bytes(tensor, size, rest[offset:])
        offset += size
    if offset != len(rest):
        message = (
            f"the body holds {len(rest)} bytes behind its JSON, but `binary_data_size` accounts "
            f"for {offset}"
        )
        raise errors.RequestError(message)
    return found


def _from_json(tensor: _Tensor) -> tensors.Array:
    if not tensor.data:
        message = f"input {tensor.name!r} has neither `data` nor `binary_data_size`"
        raise errors.RequestError(message)
    return tensors.from_json(tensor.name, tensor.datatype, tensor.shape, tensor.data)


def _from_bytes(tensor: _Tensor, size: Any, rest: memoryview) -> tensors.Array:
    if type(size) is not int or not 0 <= size <= len(rest):
        message = (
            f"input {tensor.name!r}: `binary_data_size` is {str(size)[:40]!r}, but {len(rest)} "
            "bytes are left"
        )
        raise errors.RequestError(message)
    if tensor.data:
        message = f"input {tensor.name!r} has both `data` and `binary_data_size`; send one of them"
        raise errors.RequestError(message)
    return tensors.from_bytes(tensor.name, tensor.datatype, tensor.shape, rest[:size])


def check_name(name: str, others: Collection[str]) -> None:
    """Refuse a tensor whose name is given twice or is too long, and more tensors than may be.

    Raises
    ------
    RequestError
        It is so.
    """
    if name in others:
        message = f"tensor {name!r} is given twice"
        raise errors.RequestError(message)
    if len(name) > MAX_NAME or len(others) >= MAX_TENSORS:
        message = (
            f"tensor {name[:40]!r}: names have at most {MAX_NAME} characters, and a request at "
            f"most {MAX_TENSORS} tensors"
        )
        raise errors.RequestError(message)


def wanted(asked: Sequence[tuple[str, Mapping[str, Any]]], *, otherwise_binary: bool) -> Wanted:
    """Read which outputs a client asks for, by name and parameters; nobody asked means all.

    >>> wanted([("label", {"binary_data": True})], otherwise_binary=False).binary
    {'label': True}

    Raises
    ------
    RequestError
        An output is asked for in a way that is not spoken here, or twice.
    """
    binary: dict[str, bool] = {}
    for name, parameters in asked:
        check_name(name, binary)
        for unspoken in _UNSPOKEN:
            if parameters.get(unspoken):
                message = f"output {name!r}: `{unspoken}` is not supported; leave it out"
                raise errors.RequestError(message)
        binary[name] = flag(parameters, "binary_data", default=otherwise_binary)
    return Wanted(tuple(binary) or None, binary, otherwise_binary)


def flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Return a parameter that is true or false.

    Raises
    ------
    RequestError
        It is something else.
    """
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        message = f"parameter {name!r} is {str(value)[:40]!r}, expected true or false"
        raise errors.RequestError(message)
    return value


def check_outputs(wanted: Wanted, known: Sequence[str]) -> None:
    """Refuse an output that the model does not have, before anything is answered.

    Raises
    ------
    RequestError
        An output was asked for that is not among the known ones.
    """
    for name in wanted.names or ():
        if name not in known:
            message = f"there is no output {name!r}; the model has {sorted(known)}"
            raise errors.RequestError(message)


def chosen(answer: Answer, wanted: Wanted) -> Mapping[str, tensors.Array]:
    """Return the outputs that were asked for, in the order asked; they are the model's."""
    if wanted.names is None:
        return answer.outputs
    return {name: answer.outputs[name] for name in wanted.names}


def encode(answer: Answer, wanted: Wanted) -> Encoded:
    """Write an answer with the outputs that were asked for.

    >>> import numpy as np
    >>> answer = Answer("r1", "tiny", "v1", {"label": np.array([1])})
    >>> encode(answer, Wanted(None, {}, False)).body.decode()[-71:]
    '"outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[1]}]}'
    """
    described: list[bytes] = []
    raw: list[bytes] = []
    for name, array in chosen(answer, wanted).items():
        begun = _described(name, array.dtype, array.shape)
        if wanted.binary.get(name, wanted.otherwise_binary):
            raw.append(tensors.to_bytes(array))
            described.append(b'%b,"parameters":{"binary_data_size":%d}}' % (begun, len(raw[-1])))
        else:
            described.append(b'%b,"data":%b}' % (begun, _ENCODER.encode(tensors.to_json(array))))
    header = b'%b,"id":%b,"outputs":[%b]}' % (
        _answering(answer.model, answer.version),
        _ENCODER.encode(answer.id),
        b",".join(described),
    )
    return Encoded(b"".join([header, *raw]), len(header)) if raw else Encoded(header, None)


@functools.lru_cache(maxsize=256)
def _described(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Begin the object that describes an output; what is the same each time is written once."""
    kind = tensors.datatype(records.dtype_name(dtype))
    return _ENCODER.encode({"name": name, "datatype": kind, "shape": shape})[:-1]


@functools.lru_cache(maxsize=256)
def _answering(model: str, version: str) -> bytes:
    """Begin the object that an answer is."""
    return _ENCODER.encode({"model_name": model, "model_version": version})[:-1]
