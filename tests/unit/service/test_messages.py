"""The messages of gRPC, compared with what the protocol's own client describes and writes."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf import descriptor
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from coppice import errors
from service import messages

SPOKEN = [
    *("ServerLiveRequest", "ServerLiveResponse", "ServerReadyRequest", "ServerReadyResponse"),
    *("ModelReadyRequest", "ModelReadyResponse", "ServerMetadataRequest"),
    *("ServerMetadataResponse", "ModelMetadataRequest", "ModelMetadataResponse"),
    *("InferParameter", "InferTensorContents", "ModelInferRequest", "ModelInferResponse"),
]


def described(message: descriptor.Descriptor) -> dict[object, object]:
    """What the wire knows of a message: its fields' numbers, names, types, and choices."""
    fields: dict[object, object] = {
        field.number: (
            field.name,
            field.type,
            field.is_repeated,
            field.message_type and field.message_type.full_name,
            field.containing_oneof and field.containing_oneof.name,
        )
        for field in message.fields
    }
    inside = {nested.name: described(nested) for nested in message.nested_types}
    return fields | inside | {"map": message.GetOptions().map_entry}


@pytest.mark.parametrize("name", SPOKEN)
def test_each_message_is_the_one_that_the_client_knows(name: str) -> None:
    theirs = service_pb2.DESCRIPTOR.message_types_by_name[name]
    assert described(messages.CLASSES[name].DESCRIPTOR) == described(theirs)


def test_all_messages_are_compared() -> None:
    assert set(messages.CLASSES) == set(SPOKEN)


@given(st.text(), st.lists(st.binary(max_size=300), max_size=4))
def test_a_split_request_is_the_whole_request(name: str, raw: list[bytes]) -> None:
    whole = messages.CLASSES["ModelInferRequest"](
        model_name=name, inputs=[{"name": "x", "shape": [1, -1]}], raw_input_contents=raw
    )
    found = messages.split(whole.SerializeToString())
    assert [bytes(one) for one in found.raw] == raw
    assert found.request.model_name == name
    assert list(found.request.inputs[0].shape) == [1, -1]
    assert not found.request.raw_input_contents


def test_raw_tensors_are_not_copied() -> None:
    wire = messages.CLASSES["ModelInferRequest"](raw_input_contents=[b"abc"]).SerializeToString()
    assert messages.split(wire).raw[0].obj is wire


# 127 is the last length of one byte, 128 the first of two; 16384 the first of three.
@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384])
def test_a_joined_answer_is_read_back(size: int) -> None:
    head = messages.CLASSES["ModelInferResponse"](id="r1")
    raw = [bytes(size), b"end"]
    found = messages.CLASSES["ModelInferResponse"].FromString(messages.join(head, raw))
    assert (found.id, list(found.raw_output_contents)) == ("r1", raw)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(errors.RequestError):  # what else it raises fails this test
        messages.split(body)


@pytest.mark.parametrize("name", SPOKEN)
def test_a_message_that_is_cut_off_is_refused(name: str) -> None:
    # Field 1, of a length, that claims five bytes and has none.
    with pytest.raises(messages.Malformed, match="cannot be read"):
        messages.read(name, b"\x0a\x05")
