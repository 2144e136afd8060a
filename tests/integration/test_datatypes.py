"""Models that take each datatype of the protocol, alone and together, in JSON and as bytes."""

from __future__ import annotations

import asyncio
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import numbers, records
from service import tensors
from tests.support import coded, serving, typed

LISTS: dict[str, list[Any]] = {kind: [1, 0] for kind in typed.KINDS} | {
    "BOOL": [True, False],
    "BYTES": ["yes", "nothing"],
}
"""One row of each kind, worth 1 in all."""

SCORE = 1 / (1 + np.exp(-1.0))
"""softmax([-0.5, 0.5]) of "yes", for one input worth 1."""


def served(root: Path, body: bytes, *kinds: str, length: int | None = None) -> serving.Reply:
    """Ask a model that takes these kinds."""
    made = serving.project(root)
    pack = functools.partial(typed.summing_classifier, kinds=kinds)
    made.route(champion=made.add(pack))
    headers = {} if length is None else {"inference-header-content-length": str(length)}

    async def main() -> serving.Reply:
        async with serving.plane(made) as opened:
            return await serving.ask(opened, serving.INFER, body, headers=headers)

    return asyncio.run(main())


def described(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": kind.lower(), "shape": [1, 2], "datatype": kind, **fields}


def raw(kind: str) -> bytes:
    """The row of a kind as bytes of the protocol."""
    return tensors.to_bytes(np.array([LISTS[kind]], dtype=typed.KINDS[kind]))


def in_bytes(*kinds: str) -> tuple[bytes, int]:
    """A request of binary tensors, and the length of its JSON."""
    inputs = [described(kind, parameters={"binary_data_size": len(raw(kind))}) for kind in kinds]
    header = json.dumps({"inputs": inputs}).encode()
    return header + b"".join(map(raw, kinds)), len(header)


@pytest.mark.parametrize("kind", sorted(typed.KINDS))
def test_each_datatype_is_answered_in_json(tmp_path: Path, kind: str) -> None:
    body = json.dumps({"inputs": [described(kind, data=LISTS[kind])]}).encode()
    reply = served(tmp_path, body, kind)
    assert reply.status == 200, reply.body
    assert reply.json["outputs"][0]["data"][1] == pytest.approx(SCORE, rel=1e-5)


@pytest.mark.parametrize("kind", sorted(typed.KINDS))
def test_each_datatype_is_answered_as_bytes(tmp_path: Path, kind: str) -> None:
    body, length = in_bytes(kind)
    reply = served(tmp_path, body, kind, length=length)
    assert reply.status == 200, reply.body
    assert reply.json["outputs"][0]["data"][1] == pytest.approx(SCORE, rel=1e-5)


def test_a_model_of_all_datatypes_takes_all_its_inputs_at_once(tmp_path: Path) -> None:
    body, length = in_bytes(*typed.KINDS)
    reply = served(tmp_path, body, *typed.KINDS, length=length)
    assert reply.status == 200, reply.body
    # Each of the fourteen inputs is worth 1.
    assert reply.json["outputs"][0]["data"][1] == pytest.approx(1 / (1 + np.exp(-14.0)))


def test_texts_reach_the_model_as_the_client_wrote_them(tmp_path: Path) -> None:
    body = json.dumps({"inputs": [described("BYTES", data=["été", "b'yes'"])]}).encode()
    reply = served(tmp_path, body, "BYTES")
    # "été" is worth 2, and what Python would make of bytes is worth nothing.
    assert reply.json["outputs"][0]["data"][1] == pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-5)


def test_the_metadata_names_each_datatype(tmp_path: Path) -> None:
    made = serving.project(tmp_path)
    pack = functools.partial(typed.summing_classifier, kinds=tuple(typed.KINDS))
    made.route(champion=made.add(pack))

    async def main() -> serving.Reply:
        async with serving.plane(made) as opened:
            return await serving.ask(opened, "/v2/models/tiny", method="GET")

    inputs = asyncio.run(main()).json["inputs"]
    assert [one["datatype"] for one in inputs] == list(typed.KINDS)


def test_a_bfloat16_that_is_no_number_is_refused(tmp_path: Path) -> None:
    header = json.dumps(
        {"inputs": [described("BF16", parameters={"binary_data_size": 4})]}
    ).encode()
    # 0x7fc0 is a quiet NaN of bfloat16.
    reply = served(tmp_path, header + b"\xc0\x7f\0\0", "BF16", length=len(header))
    assert (reply.status, "NaN or infinite" in reply.json["error"]) == (400, True)


def test_a_bfloat16_is_stored_and_read_back() -> None:
    array = np.array([[1.5, -2.0]], dtype=numbers.BFLOAT16)
    found = records.Tensor.of(array)
    assert (found.dtype, found.shape, len(found.data)) == ("bfloat16", (1, 2), 4)
    assert found.array().tolist() == [[1.5, -2.0]]


def asked(root: Path, *items: int) -> serving.Reply:
    """Ask a model that looks codes up for two of them."""
    made = serving.project(root)
    made.route(champion=made.add(coded.lookup_classifier))
    told = {"name": "item", "shape": [1, 2], "datatype": "INT64", "data": items}
    body = json.dumps({"inputs": [told]}).encode()

    async def main() -> serving.Reply:
        async with serving.plane(made) as opened:
            return await serving.ask(opened, serving.INFER, body)

    return asyncio.run(main())


def test_a_code_that_the_model_knows_is_answered(tmp_path: Path) -> None:
    reply = asked(tmp_path, 0, 1)
    assert reply.status == 200, reply.body
    # The places 0 and 1 add up to a logit of 1 against 0.
    assert reply.json["outputs"][0]["data"][1] == pytest.approx(1 / (1 + np.exp(-1.0)))


@pytest.mark.parametrize("code", [coded.KNOWN, -1])
def test_a_code_that_it_does_not_know_is_the_clients_mistake(tmp_path: Path, code: int) -> None:
    reply = asked(tmp_path, 0, code)
    assert reply.status == 400
    told = f"row 0 (the first is 0): input 'item' holds the code {code} at [1], but the model knows"
    assert told.encode() in reply.body
