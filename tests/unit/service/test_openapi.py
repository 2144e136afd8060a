"""The published document: whole in itself, and its examples are answered."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from service import openapi, recorder, tensors
from tests.support import serving, typed

MODEL = {
    "name": "tiny",
    "versions": ["abc"],
    "platform": "any",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2, 2]}],
    "outputs": [],
}
DOCUMENT = openapi.document("tiny", MODEL)


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation of a document."""
    methods = ("get", "post")
    return [path[method] for path in document["paths"].values() for method in methods & path.keys()]


def test_every_reference_leads_somewhere() -> None:
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(DOCUMENT)))
    assert named == set(DOCUMENT["components"]["schemas"])


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [one["operationId"] for one in operations(DOCUMENT)]
    assert len(set(names)) == len(names) == 11


def test_every_refusal_has_the_shape_of_the_protocol() -> None:
    refusals = [
        answer["content"]["application/json"]["schema"]
        for one in operations(DOCUMENT)
        for status, answer in one["responses"].items()
        if status != "200"
    ]
    assert refusals == [{"$ref": "#/components/schemas/Error"}] * len(refusals)


def test_statuses_that_an_inference_may_have_are_those_that_are_counted() -> None:
    (infer, _) = [one for one in operations(DOCUMENT) if one["operationId"].startswith("infer")]
    assert set(map(int, infer["responses"])) >= {200, 400, 404, 413, 415, 429, 500, 503, 507}
    # BentoML's own refusal of the typed door, and that of a wrong method, are not this operation's.
    assert set(recorder.CODES) - set(map(int, infer["responses"])) <= {422, 405}


def test_the_example_is_a_request_for_the_model_that_is_served() -> None:
    (infer, _) = [one for one in operations(DOCUMENT) if one["operationId"].startswith("infer")]
    value = infer["requestBody"]["content"]["application/json"]["examples"]["zeros"]["value"]
    assert value == {
        "inputs": [{"name": "x", "shape": [1, 2, 2], "datatype": "FP32", "data": [0, 0, 0, 0]}]
    }


def test_all_datatypes_are_published() -> None:
    tensor = DOCUMENT["components"]["schemas"]["InferRequest"]["properties"]["inputs"]["items"]
    assert tensor["properties"]["datatype"]["enum"] == list(tensors.NAMES)


def test_without_a_champion_there_is_a_document_without_examples(tmp_path: Path) -> None:
    made = serving.project(tmp_path)

    async def steps() -> serving.Reply:
        async with serving.plane(made) as opened:
            opened.switchboard.lanes = None
            return await serving.ask(opened, "/openapi.json", method="GET")

    reply = asyncio.run(steps())
    assert (reply.status, "examples" in reply.body.decode()) == (200, False)


@pytest.mark.parametrize("kinds", [("FP32",), tuple(typed.KINDS)], ids=["one", "all"])
def test_the_published_example_is_answered(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    made = serving.project(tmp_path)
    pack = functools.partial(typed.summing_classifier, kinds=kinds)
    made.route(champion=made.add(pack))

    async def steps() -> serving.Reply:
        async with serving.plane(made) as opened:
            found = (await serving.ask(opened, "/openapi.json", method="GET")).json
            post = found["paths"]["/v2/models/{model}/infer"]["post"]
            media = post["requestBody"]["content"]["application/json"]
            body = json.dumps(media["examples"]["zeros"]["value"]).encode()
            return await serving.ask(opened, serving.INFER, body)

    reply = asyncio.run(steps())
    assert reply.status == 200, reply.body
