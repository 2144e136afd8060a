"""The front door, from ASGI request to ASGI response, with real versions behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import artifact, records
from service import compose
from tests.support import artifacts, serving

Steps = Callable[[compose.Plane], Coroutine[Any, Any, None]]


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(tmp_path, serve={"max_body_bytes": 4096})


def run(made: serving.Project, steps: Steps) -> None:
    async def main() -> None:
        async with serving.plane(made) as opened, asyncio.timeout(60.0):
            await steps(opened)

    asyncio.run(main())


def ask(made: serving.Project, path: str, body: bytes = b"", **options: Any) -> serving.Reply:
    """Send one request to a plane of its own."""
    found: list[serving.Reply] = []

    async def steps(opened: compose.Plane) -> None:
        found.append(await serving.ask(opened, path, body, **options))

    run(made, steps)
    return found[0]


def get(made: serving.Project, path: str) -> serving.Reply:
    return ask(made, path, method="GET")


def test_an_answer_says_who_gave_it(made: serving.Project) -> None:
    reply = ask(made, serving.INFER, serving.infer_body(id="r1"))
    assert reply.status == 200
    assert reply.headers["x-coppice-version"] == made.champion
    assert reply.headers["x-coppice-lane"] == "stable"
    assert reply.headers["x-request-id"] == "r1"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.json["model_name"] == "tiny"
    assert reply.json["model_version"] == made.champion.partition(":")[2]
    assert reply.json["id"] == "r1"
    scores, label = reply.json["outputs"]
    # softmax([-0.5 * 4, 0.5 * 4]) = 1 / (1 + e^-4) for "yes".
    assert scores["data"][1] == pytest.approx(1 / (1 + np.exp(-4.0)), rel=1e-5)
    assert label == {"name": "label", "datatype": "INT64", "shape": [1], "data": [1]}


def test_binary_in_and_binary_out(made: serving.Project) -> None:
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [2, 4],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 32},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    rows = np.array([[1.0] * 4, [-1.0] * 4], dtype="<f4").tobytes()
    length = {"Inference-Header-Content-Length": str(len(header))}
    reply = ask(made, serving.INFER, header + rows, headers=length)
    size = int(reply.headers["inference-header-content-length"])
    outputs = json.loads(reply.body[:size])["outputs"]
    assert [output["parameters"]["binary_data_size"] for output in outputs] == [16, 16]
    assert np.frombuffer(reply.body[size + 16 :], "<i8").tolist() == [1, 0]


def test_a_regression_answers_with_values_alone(tmp_path: Path) -> None:
    made = serving.project(tmp_path, project={"name": "tiny", "task": "regression"})
    made.route(champion=made.add(artifacts.linear_regressor))
    reply = ask(made, serving.INFER, serving.infer_body([[1.0, 2.0, 3.0, 4.0]]))
    # By default the sum of the inputs.
    assert [(output["name"], output["data"]) for output in reply.json["outputs"]] == [
        ("scores", [10.0])
    ]


def test_who_asks_for_an_output_that_there_is_not_is_refused_before_anything_is_stored(
    made: serving.Project,
) -> None:
    async def steps(opened: compose.Plane) -> None:
        body = serving.infer_body(outputs=[{"name": "logits"}])
        reply = await serving.ask(opened, serving.INFER, body)
        assert reply.status == 400
        assert reply.json == {
            "error": "there is no output 'logits'; the model has ['label', 'scores']"
        }
        assert serving.stored(opened.log, records.Prediction) == []

    run(made, steps)


def test_headers_and_parameters_reach_the_log(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        parameters = {"routing_key": "ann", "slices": {"site": "a"}}
        await serving.ask(opened, serving.INFER, serving.infer_body(parameters=parameters))
        headers = {"x-request-id": "r2", "x-coppice-key": "ann", "x-coppice-slices": "site=b"}
        await serving.ask(opened, serving.INFER, serving.infer_body(), headers=headers)
        first, second = serving.stored(opened.log, records.Prediction)
        assert first.key_hash == second.key_hash
        assert (first.slices, second.slices) == ({"site": "a"}, {"site": "b"})
        assert second.request_id == "r2"

    run(made, steps)


def one(**fields: Any) -> bytes:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1], **fields}
    return json.dumps({"inputs": [tensor]}).encode()


BAD: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("/v2/models/other/infer", one(), {}, 404, "this server serves 'tiny'"),
    ("/v2/models/tiny/versions/other/infer", one(), {}, 404, "'other' is not served here"),
    (serving.INFER, b"{", {}, 400, "not an inference request"),
    (serving.INFER, one(name="y"), {}, 400, "the model takes ['x']"),
    (serving.INFER, one(datatype="FP64"), {}, 400, "expected float32"),
    (serving.INFER, one(shape=[1, 2], data=[1, 1]), {}, 400, "expected ['rows', 4]"),
    (serving.INFER, one(shape=[4]), {}, 400, "expected ['rows', 4]"),
    (serving.INFER, one(shape=[], data=[1]), {}, 400, "same number of rows"),
    (serving.INFER, one(data=[1, 1, 1, 1e39]), {}, 400, "NaN or infinite"),
    (serving.INFER, one(data=[1, 1]), {}, 400, "has shape [2]"),
    (serving.INFER, one(), {"Inference-Header-Content-Length": "9999"}, 400, "9999"),
    (serving.INFER, one(), {"x-coppice-lane": "canary"}, 400, "allow_forced_lane"),
    (serving.INFER, one(), {"x-coppice-slices": "=a"}, 400, "slice"),
    (serving.INFER, one(), {"x-request-id": "two words"}, 400, "request id"),
    (serving.INFER, b"x" * 5000, {}, 413, "max_body_bytes"),
    (serving.INFER, b"", {"content-length": "99999999"}, 413, "max_body_bytes"),
    ("/feedback", b'{"request_id": "r9", "label": 1}', {}, 404, "'r9'"),
    ("/feedback", b"{", {}, 400, "not feedback"),
    ("/feedback", b"x" * 5000, {}, 413, "max_body_bytes"),
    ("/predict", b"x" * 5000, {}, 413, "max_body_bytes"),
    (serving.INFER, one(), {"content-type": "text/plain"}, 415, "send application/json"),
    (serving.INFER, one(), {"content-encoding": "br"}, 415, "not gzip or deflate"),
    ("/feedback", b"{}", {"content-type": "application/octet-stream"}, 415, "application/json"),
    ("/v2/repository/index", b"", {}, 404, "coppice rollout"),
    ("/v2/repository/models/tiny/load", b"", {}, 404, "coppice rollout"),
    ("/v2/models/stats", b"", {}, 404, "/metrics"),
    ("/v2/models/tiny/stats", b"", {}, 404, "/metrics"),
    ("/v2/models/tiny/versions/a/stats", b"", {}, 404, "/metrics"),
    ("/v1/verdict", b"", {}, 405, "takes GET"),
    ("/v2", b"", {}, 405, "takes GET"),
]


@pytest.mark.parametrize(("path", "body", "headers", "status", "text"), BAD)
def test_bad_input_is_refused_with_what_to_do(
    made: serving.Project,
    path: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    text: str,
) -> None:
    reply = ask(made, path, body, headers=headers)
    assert (reply.status, list(reply.json)) == (status, ["error"])
    assert text in reply.json["error"]


@pytest.mark.parametrize(("path", "allowed"), [("/v2", "GET, HEAD"), (serving.INFER, "POST")])
def test_a_wrong_method_is_told_the_right_one(
    made: serving.Project, path: str, allowed: str
) -> None:
    reply = ask(made, path, method="DELETE")
    assert (reply.status, reply.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", ""])
def test_json_may_say_that_it_is_json(made: serving.Project, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    assert ask(made, serving.INFER, one(), headers=headers).status == 200


def test_what_other_libraries_leave_empty_may_be_null(made: serving.Project) -> None:
    tensor = json.loads(one())["inputs"][0] | {"parameters": None}
    body = {"inputs": [tensor], "id": None, "parameters": None, "outputs": None}
    assert ask(made, serving.INFER, json.dumps(body).encode()).status == 200


def test_readiness_says_what_both_wordings_of_the_protocol_ask(made: serving.Project) -> None:
    assert get(made, "/v2/health/ready").json == {"live": True, "ready": True}
    assert get(made, "/v2/models/tiny/ready").json == {"name": "tiny", "ready": True}


def test_feedback_is_acknowledged_with_its_request(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        await serving.ask(opened, serving.INFER, serving.infer_body(id="r1"))
        label = b'{"request_id": "r1", "label": "yes"}'
        first = await serving.ask(opened, "/feedback", label)
        again = await serving.ask(opened, "/feedback", label)
        assert (first.status, first.json) == (200, {"accepted": True, "request_id": "r1"})
        assert again.status == 409

    run(made, steps)


def test_the_server_describes_itself(made: serving.Project) -> None:
    reply = get(made, "/v2")
    assert reply.json["name"] == "coppice"
    assert reply.json["extensions"] == ["binary_tensor_data"]


def test_the_model_describes_itself(made: serving.Project) -> None:
    made.route(candidate=made.candidate)
    assert get(made, "/v2/models/tiny").json == {
        "name": "tiny",
        "versions": [made.champion.partition(":")[2], made.candidate.partition(":")[2]],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "label", "datatype": "INT64", "shape": [-1]},
        ],
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/health/live", 200),
        ("/v2/health/ready", 200),
        ("/v2/models/tiny/ready", 200),
        ("/v2/models/other/ready", 404),
        ("/v2/models/tiny/versions/other/ready", 404),
        ("/v2/models/tiny/versions/other", 404),
        ("/v2/nothing", 404),
        ("/v2/models", 404),
        ("/v2/models/tiny/nothing", 404),
        ("/v2/models/tiny/versions", 404),
        ("/v2/models/tiny/versions/a/b/infer", 404),
        ("/v2/models/tiny/nothing/infer", 404),
        ("/openapi.json", 200),
        (serving.INFER, 405),
    ],
)
def test_each_path_says_whether_there_is_something(
    made: serving.Project, path: str, status: int
) -> None:
    assert get(made, path).status == status


def test_a_candidate_that_could_not_be_loaded_is_not_ready(made: serving.Project) -> None:
    path = made.path(made.candidate) / artifact.MODEL
    path.write_bytes(path.read_bytes() + b"!")
    made.route(candidate=made.candidate)
    name = made.candidate.partition(":")[2]

    async def steps(opened: compose.Plane) -> None:
        broken = await serving.ask(opened, f"/v2/models/tiny/versions/{name}/ready", method="GET")
        whole = await serving.ask(opened, "/v2/models/tiny/ready", method="GET")
        assert (broken.status, whole.status) == (503, 200)

    run(made, steps)


def test_without_a_champion_the_server_is_alive_but_not_ready(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        opened.switchboard.lanes = None
        live = await serving.ask(opened, "/v2/health/live", method="GET")
        ready = await serving.ask(opened, "/v2/health/ready", method="GET")
        infer = await serving.ask(opened, serving.INFER, serving.infer_body())
        assert (live.status, ready.status, infer.status) == (200, 503, 503)
        assert infer.headers["retry-after"] == "1"

    run(made, steps)


def test_the_verdict_is_that_on_the_candidate(made: serving.Project) -> None:
    made.route(candidate=made.candidate)
    judged = records.Verdict(
        model="tiny", version=made.candidate, scope="candidate", kind="promote", reason="fine"
    )

    async def steps(opened: compose.Plane) -> None:
        opened.log.append([records.seal(judged, source="test", now=1.0)])
        reply = await serving.ask(opened, "/v1/verdict?model=tiny", method="GET")
        assert (reply.status, reply.json["verdict"], reply.json["reason"]) == (
            200,
            "promote",
            "fine",
        )

    run(made, steps)


@pytest.mark.parametrize("query", ["", "?model=tiny", "?model=other"])
def test_without_a_candidate_the_verdict_is_undecided(made: serving.Project, query: str) -> None:
    reply = get(made, f"/v1/verdict{query}")
    assert (reply.status, reply.json["verdict"]) == (200, "undecided")


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/v2x", "/predict"])
def test_what_is_not_ours_goes_on_to_bentoml(made: serving.Project, path: str) -> None:
    reply = ask(made, path)
    assert (reply.status, reply.body) == (404, b"inner")


def test_pages_that_are_not_ours_may_load_nothing_from_elsewhere(made: serving.Project) -> None:
    policy = get(made, "/").headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy


def test_an_unforeseen_error_is_not_told_to_the_client(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        whole, opened.engine = opened.engine, None  # type: ignore[assignment]
        reply = await serving.ask(opened, serving.INFER, serving.infer_body())
        opened.engine = whole
        assert reply.status == 500
        assert reply.json == {"error": "unforeseen error; see the server's log"}

    run(made, steps)
