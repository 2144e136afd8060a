"""Requests and answers of the Open Inference Protocol."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from coppice import errors
from service import protocol

EVERYTHING = protocol.Wanted(None, {}, otherwise_binary=False)


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2], **fields}


def body(*inputs: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"inputs": list(inputs) or [tensor()], **fields}).encode()


def binary(size: Any, data: bytes, **fields: Any) -> tuple[bytes, str]:
    described = {**tensor(**fields), "parameters": {"binary_data_size": size}}
    described.pop("data", None)
    header = json.dumps({"inputs": [described]}).encode()
    return header + data, str(len(header))


def test_a_request_in_json_is_read_whole() -> None:
    request = protocol.decode(body(id="r1", parameters={"routing_key": "ann"}))
    assert request.id == "r1"
    assert request.parameters == {"routing_key": "ann"}
    assert request.inputs["x"].tolist() == [[1.0, 2.0]]
    assert request.wanted == EVERYTHING


def test_binary_tensors_lie_behind_the_json_in_their_order() -> None:
    header = json.dumps(
        {
            "inputs": [
                tensor(shape=[2], data=[7, 8]),
                {
                    "name": "a",
                    "shape": [2],
                    "datatype": "INT8",
                    "parameters": {"binary_data_size": 2},
                },
                {
                    "name": "b",
                    "shape": [1],
                    "datatype": "INT16",
                    "parameters": {"binary_data_size": 2},
                },
            ]
        }
    ).encode()
    request = protocol.decode(header + bytes([1, 2, 3, 0]), str(len(header)))
    found = {name: array.tolist() for name, array in request.inputs.items()}
    assert found == {"x": [7.0, 8.0], "a": [1, 2], "b": [3]}


def test_without_the_length_of_the_json_the_whole_body_is_json() -> None:
    with_bytes, _ = binary(8, b"\0" * 8)
    with pytest.raises(errors.RequestError, match="not an inference request"):
        protocol.decode(with_bytes)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `inputs`"),
        (b'{"inputs": 1}', "Expected `array`"),
        (b'{"inputs": [{}]}', "missing required field `name`"),
        (b"\xff\xfe", "malformed"),
        (b'{"inputs": [], "id": 7}', r"Expected `str \| null`"),
        (body(tensor(shape="2")), "Expected `array`"),
        (body(tensor(shape=[1.5])), "Expected `int`"),
        (body(tensor(shape=[10**30])), "at most 1099511627776"),
        (b'{"inputs": [{"name": "x", "shape": [' + b"9" * 5000 + b"]}]}", "out of range"),
        (b"[" * 100_000, "not an inference request"),
    ],
)
def test_a_body_that_is_no_request_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(errors.RequestError, match=message):
        protocol.decode(raw)


@pytest.mark.parametrize("length", ["0", "-1", "abc", "", "1e3", "99999", "9" * 50, "١"])
def test_a_lying_length_of_the_json_is_refused(length: str) -> None:
    with pytest.raises(errors.RequestError, match="Inference-Header-Content-Length"):
        protocol.decode(body(), length)


@pytest.mark.parametrize("size", [-1, 9, 10**12, 8.0, "8", True, None.__class__.__name__])
def test_a_lying_size_of_binary_data_is_refused(size: Any) -> None:
    raw, length = binary(size, b"\0" * 8)
    with pytest.raises(errors.RequestError, match="binary_data_size"):
        protocol.decode(raw, length)


def test_bytes_that_belong_to_no_tensor_are_refused() -> None:
    raw, length = binary(8, b"\0" * 9)
    with pytest.raises(errors.RequestError, match="accounts for 8"):
        protocol.decode(raw, length)


def test_a_size_that_does_not_fit_the_shape_is_refused() -> None:
    raw, length = binary(4, b"\0" * 4)
    with pytest.raises(errors.RequestError, match=r"4 bytes .* takes 8"):
        protocol.decode(raw, length)


def test_an_input_given_twice_is_refused() -> None:
    with pytest.raises(errors.RequestError, match="given twice"):
        protocol.decode(body(tensor(), tensor()))


def test_an_input_without_data_is_refused() -> None:
    bare = tensor()
    del bare["data"]
    with pytest.raises(errors.RequestError, match="neither `data` nor"):
        protocol.decode(body(bare))


def test_an_input_with_two_kinds_of_data_is_refused() -> None:
    both = tensor(parameters={"binary_data_size": 0})
    with pytest.raises(errors.RequestError, match="both `data` and"):
        protocol.decode(body(both))


def test_outputs_are_asked_for_one_by_one() -> None:
    outputs = [{"name": "label"}, {"name": "scores", "parameters": {"binary_data": True}}]
    wanted = protocol.decode(body(outputs=outputs)).wanted
    assert wanted.names == ("label", "scores")
    assert wanted.binary == {"label": False, "scores": True}


def test_an_output_may_stay_json_where_the_rest_is_binary() -> None:
    outputs = [{"name": "label", "parameters": {"binary_data": False}}, {"name": "scores"}]
    raw = body(outputs=outputs, parameters={"binary_data_output": True})
    assert protocol.decode(raw).wanted.binary == {"label": False, "scores": True}


def test_a_flag_that_is_no_truth_value_is_refused() -> None:
    with pytest.raises(errors.RequestError, match="expected true or false"):
        protocol.decode(body(parameters={"binary_data_output": "yes"}))


def test_the_classification_extension_is_refused_by_name() -> None:
    outputs = [{"name": "scores", "parameters": {"classification": 3}}]
    with pytest.raises(errors.RequestError, match="classification"):
        protocol.decode(body(outputs=outputs))


def test_an_output_in_shared_memory_is_refused_by_name() -> None:
    outputs = [{"name": "scores", "parameters": {"shared_memory_region": "a"}}]
    with pytest.raises(errors.RequestError, match="shared_memory_region"):
        protocol.decode(body(outputs=outputs))


def test_more_tensors_than_any_model_has_are_refused() -> None:
    many = [tensor(name=f"x{place}") for place in range(protocol.MAX_TENSORS + 1)]
    with pytest.raises(errors.RequestError, match="at most 1024 tensors"):
        protocol.decode(body(*many))


def answer() -> protocol.Answer:
    outputs: dict[str, Any] = {
        "scores": np.array([[0.25, 0.75]], dtype=np.float32),
        "label": np.array([1], dtype=np.int64),
    }
    return protocol.Answer("r1", "tiny", "abc", outputs)


def test_an_answer_in_json_says_who_answered_what() -> None:
    encoded = protocol.encode(answer(), EVERYTHING)
    assert encoded.header_length is None
    assert json.loads(encoded.body) == {
        "model_name": "tiny",
        "model_version": "abc",
        "id": "r1",
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
            {"name": "label", "datatype": "INT64", "shape": [1], "data": [1]},
        ],
    }


def test_binary_outputs_follow_the_json_of_the_answer() -> None:
    encoded = protocol.encode(answer(), EVERYTHING._replace(otherwise_binary=True))
    assert encoded.header_length is not None
    header = json.loads(encoded.body[: encoded.header_length])
    sizes = [output["parameters"]["binary_data_size"] for output in header["outputs"]]
    # Two float32 and one int64.
    assert sizes == [8, 8]
    rest = encoded.body[encoded.header_length :]
    assert np.frombuffer(rest[:8], "<f4").tolist() == [0.25, 0.75]
    assert np.frombuffer(rest[8:], "<i8").tolist() == [1]


def test_only_the_outputs_asked_for_are_sent_in_the_order_asked() -> None:
    encoded = protocol.encode(answer(), protocol.Wanted(("label",), {}, otherwise_binary=False))
    assert [output["name"] for output in json.loads(encoded.body)["outputs"]] == ["label"]


def test_an_output_that_the_model_lacks_is_refused_with_those_it_has() -> None:
    wanted = protocol.Wanted(("logits",), {}, otherwise_binary=False)
    with pytest.raises(errors.RequestError, match=r"'logits'; the model has \['label', 'scores'\]"):
        protocol.check_outputs(wanted, ["scores", "label"])


def test_outputs_that_the_model_has_are_let_through_and_so_is_asking_for_none() -> None:
    protocol.check_outputs(protocol.Wanted(("label",), {}, otherwise_binary=False), ["label"])
    protocol.check_outputs(protocol.Wanted(None, {}, otherwise_binary=False), ["label"])


def test_the_same_header_twice_reads_the_bytes_behind_it_each_time() -> None:
    said = [binary(2, data, shape=[2], datatype="UINT8") for data in (b"\x01\x02", b"\x03\x04")]
    read = [protocol.decode(*one).inputs["x"].tolist() for one in said]
    assert read == [[1, 2], [3, 4]]


def test_answers_of_one_shape_name_their_own_id_version_and_numbers() -> None:
    half: Any = np.array([0.5])
    answers = [
        protocol.Answer("r1", "tiny", "v1", {"scores": half}),
        protocol.Answer('r"2', "tiny", "v2", {"scores": half / 2}),
    ]
    told = [json.loads(protocol.encode(answer, EVERYTHING).body) for answer in answers]
    assert [(t["id"], t["model_version"], t["outputs"][0]["data"]) for t in told] == [
        ("r1", "v1", [0.5]),
        ('r"2', "v2", [0.25]),
    ]
