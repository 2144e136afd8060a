"""The messages of `inference.GRPCInferenceService`, described here instead of generated.

The Open Inference Protocol fixes names, numbers and types of the fields; a table of them needs no
compiler, no generated code that must match the library's version, and no file that another
package's description of the same messages could collide with. It is the only file that imports
protobuf.

References
----------
Open Inference Protocol, specification/protocol/inference_grpc.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from coppice import errors

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

RAW_INPUTS = 7
"""Number of the field `raw_input_contents` of a request."""

RAW_OUTPUTS = 6
"""Number of the field `raw_output_contents` of an answer."""

_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {1: ("live", "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {1: ("ready", "bool")},
    "ModelReadyRequest": {1: ("name", "string"), 2: ("version", "string")},
    "ModelReadyResponse": {1: ("ready", "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {
        1: ("name", "string"),
        2: ("version", "string"),
        3: ("extensions", "string*"),
    },
    "ModelMetadataRequest": {1: ("name", "string"), 2: ("version", "string")},
    "ModelMetadataResponse.TensorMetadata": {
        1: ("name", "string"),
        2: ("datatype", "string"),
        3: ("shape", "int64*"),
    },
    "ModelMetadataResponse": {
        1: ("name", "string"),
        2: ("versions", "string*"),
        3: ("platform", "string"),
        4: ("inputs", "ModelMetadataResponse.TensorMetadata*"),
        5: ("outputs", "ModelMetadataResponse.TensorMetadata*"),
    },
    "InferParameter": {
        1: ("bool_param", "bool|parameter_choice"),
        2: ("int64_param", "int64|parameter_choice"),
        3: ("string_param", "string|parameter_choice"),
        4: ("double_param", "double|parameter_choice"),
        5: ("uint64_param", "uint64|parameter_choice"),
    },
    "InferTensorContents": {
        1: ("bool_contents", "bool*"),
        2: ("int_contents", "int32*"),
        3: ("int64_contents", "int64*"),
        4: ("uint_contents", "uint32*"),
        5: ("uint64_contents", "uint64*"),
        6: ("fp32_contents", "float*"),
        7: ("fp64_contents", "double*"),
        8: ("bytes_contents", "bytes*"),
    },
    "ModelInferRequest.InferInputTensor": {
        1: ("name", "string"),
        2: ("datatype", "string"),
        3: ("shape", "int64*"),
        4: ("parameters", "map"),
        5: ("contents", "InferTensorContents"),
    },
    "ModelInferRequest.InferRequestedOutputTensor": {
        1: ("name", "string"),
        2: ("parameters", "map"),
    },
    "ModelInferRequest": {
        1: ("model_name", "string"),
        2: ("model_version", "string"),
        3: ("id", "string"),
        4: ("parameters", "map"),
        5: ("inputs", "ModelInferRequest.InferInputTensor*"),
        6: ("outputs", "ModelInferRequest.InferRequestedOutputTensor*"),
        RAW_INPUTS: ("raw_input_contents", "bytes*"),
    },
    "ModelInferResponse.InferOutputTensor": {
        1: ("name", "string"),
        2: ("datatype", "string"),
        3: ("shape", "int64*"),
        4: ("parameters", "map"),
        5: ("contents", "InferTensorContents"),
    },
    "ModelInferResponse": {
        1: ("model_name", "string"),
        2: ("model_version", "string"),
        3: ("id", "string"),
        4: ("parameters", "map"),
        5: ("outputs", "ModelInferResponse.InferOutputTensor*"),
        RAW_OUTPUTS: ("raw_output_contents", "bytes*"),
    },
}
"""Each message's fields by number: name and type; `*` repeats, `|` names a choice, and `map` is
one from names to `InferParameter`."""

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
}
_ENTRY = {1: ("key", "string"), 2: ("value", "InferParameter")}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="coppice/inference.proto", package=PACKAGE, syntax="proto3"
    )
    for path, fields in _MESSAGES.items():
        outer, _, inner = path.partition(".")
        found = [one for one in file.message_type if one.name == outer]
        whole = found[0] if found else file.message_type.add(name=outer)
        _fill(whole.nested_type.add(name=inner) if inner else whole, path, fields)
    return file


def _fill(target: Any, path: str, fields: dict[int, tuple[str, str]]) -> None:
    for number, (name, kind) in fields.items():
        kind, _, choice = kind.partition("|")  # noqa: PLW2901 - the rest of the same word
        if kind == "map":
            entry = target.nested_type.add(name=f"{name.capitalize()}Entry")
            entry.options.map_entry = True
            _fill(entry, f"{path}.{entry.name}", _ENTRY)
            kind = f"{path}.{entry.name}*"  # noqa: PLW2901 - a map is its entries, repeated
        field = target.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
        if kind.endswith("*"):
            field.label = _FIELD.LABEL_REPEATED
        plain = kind.rstrip("*")
        field.type = _SCALARS.get(plain, _FIELD.TYPE_MESSAGE)
        if plain not in _SCALARS:
            field.type_name = f".{PACKAGE}.{plain}"
        if choice:
            if not target.oneof_decl:
                target.oneof_decl.add(name=choice)
            field.oneof_index = 0


def _build() -> dict[str, Any]:
    # A pool of our own: clients in the same process may have described the same names already.
    pool = descriptor_pool.DescriptorPool()
    file = _describe()
    pool.Add(file)
    return {
        one.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{PACKAGE}.{one.name}")
        )
        for one in file.message_type
    }


CLASSES: dict[str, Any] = _build()
"""The class of each message that is not inside another, by name."""


class Malformed(errors.RequestError):
    """The bytes are not a message of the protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the message cannot be read: {reason}")


def read(name: str, body: bytes) -> Any:
    """Read a message of this name.

    Raises
    ------
    Malformed
        The bytes are no such message.
    """
    try:
        return CLASSES[name].FromString(body)
    except message.DecodeError as cause:
        raise Malformed(str(cause)) from cause


class Split(NamedTuple):
    """A request, and its raw tensors beside it, which share the bytes they came in."""

    request: Any
    raw: list[memoryview]


def split(body: bytes) -> Split:
    """Read an inference request without copying its raw tensors.

    They are the bulk of a request. The library would copy each of them twice; so they are cut out
    of the bytes first, and it is given the rest.

    >>> wire = CLASSES["ModelInferRequest"](id="r1", raw_input_contents=[b"ab"]).SerializeToString()
    >>> found = split(wire)
    >>> found.request.id, bytes(found.raw[0])
    ('r1', b'ab')

    Raises
    ------
    Malformed
        The bytes are no such request.
    """
    view = memoryview(body)
    raw: list[memoryview] = []
    rest: list[memoryview] = []
    for number, start, inside, end in _fields(view):
        if number == RAW_INPUTS:
            raw.append(view[inside:end])
        else:
            rest.append(view[start:end])
    return Split(read("ModelInferRequest", b"".join(rest)), raw)


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Walk over the fields of a message: number, start, start of the content, and end.

    All fields of a request are of the wire type 2, a length and so many bytes.
    """
    offset = 0
    while offset < len(view):
        start = offset
        key, offset = _varint(view, offset)
        if key & 7 != 2:
            reason = f"field {key >> 3} has wire type {key & 7}, expected 2"
            raise Malformed(reason)
        length, inside = _varint(view, offset)
        offset = inside + length
        if offset > len(view):
            reason = f"field {key >> 3} claims {length} of {len(view) - inside} bytes"
            raise Malformed(reason)
        yield key >> 3, start, inside, offset


def _varint(view: memoryview, offset: int) -> tuple[int, int]:
    """Read a number of variable length, and return where it ends."""
    value = 0
    for place, byte in enumerate(view[offset : offset + 5]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, offset + place + 1
    raise Malformed("a length is broken")


def join(answer: Any, raw: Sequence[bytes]) -> bytes:
    """Write an answer with its raw tensors behind it.

    >>> wire = join(CLASSES["ModelInferResponse"](id="r1"), [b"ab"])
    >>> list(CLASSES["ModelInferResponse"].FromString(wire).raw_output_contents)
    [b'ab']
    """
    parts = [answer.SerializeToString()]
    for one in raw:
        parts += [bytes([RAW_OUTPUTS << 3 | 2]), _length(len(one)), one]
    return b"".join(parts)


def _length(value: int) -> bytes:
    """Write a number of variable length."""
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
