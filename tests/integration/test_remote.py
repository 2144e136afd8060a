"""gRPC, asked by the protocol's own client, with real versions behind it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
import tritonclient.utils as triton
from tritonclient.grpc import aio as client
from tritonclient.grpc import service_pb2

from coppice import records
from service import compose, messages, remote
from tests.support import artifacts, serving, typed

ROWS = np.array([[1.0] * 4, [-1.0] * 4], dtype=np.float32)


class Asked(NamedTuple):
    """A plane, the protocol's client that is connected to it, and a bare channel."""

    plane: compose.Plane
    client: Any
    channel: Any


Steps = Callable[[Asked], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def connected(made: serving.Project) -> AsyncIterator[Asked]:
    async with serving.plane(made) as opened:
        door = remote.Remote(opened)
        place = f"127.0.0.1:{await door.start('127.0.0.1', 0)}"
        asking = client.InferenceServerClient(place)
        async with grpc.aio.insecure_channel(place) as channel:
            try:
                yield Asked(opened, asking, channel)
            finally:
                await asking.close()
                await door.stop(0.1)


def run(made: serving.Project, steps: Steps) -> None:
    async def main() -> None:
        async with asyncio.timeout(60.0), connected(made) as asked:
            await steps(asked)

    asyncio.run(main())


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(tmp_path, serve={"max_body_bytes": 65_536})


def tensor(rows: Any = ROWS, *, name: str = "x", kind: str = "FP32") -> Any:
    described = client.InferInput(name, list(rows.shape), kind)
    described.set_data_from_numpy(rows)
    return described


def outputs(*names: str) -> list[Any]:
    return [client.InferRequestedOutput(name) for name in names]


def test_the_clients_questions_are_answered(made: serving.Project) -> None:
    async def steps(asked: Asked) -> None:
        version = made.champion.partition(":")[2]
        assert await asked.client.is_server_live()
        assert await asked.client.is_server_ready()
        assert await asked.client.is_model_ready("tiny")
        assert await asked.client.is_model_ready("tiny", version)
        server = await asked.client.get_server_metadata(as_json=True)
        assert server["name"] == "coppice"
        model = await asked.client.get_model_metadata("tiny", as_json=True)
        assert model["versions"] == [version]
        assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}]
        assert [one["name"] for one in model["outputs"]] == ["scores", "label"]

    run(made, steps)


def test_a_request_is_answered_and_stored_as_over_http(made: serving.Project) -> None:
    async def steps(asked: Asked) -> None:
        found = await asked.client.infer("tiny", [tensor()], request_id="g1")
        assert found.as_numpy("label").tolist() == [1, 0]
        # softmax([-2, 2]) = 1 / (1 + e^-4) for "yes", whatever the door.
        assert found.as_numpy("scores")[0, 1] == pytest.approx(1 / (1 + np.exp(-4.0)), rel=1e-5)
        answer = found.get_response()
        assert (answer.id, answer.model_name) == ("g1", "tiny")
        assert answer.model_version == made.champion.partition(":")[2]
        (stored,) = serving.stored(asked.plane.log, records.Prediction)
        assert (stored.request_id, stored.version) == ("g1", made.champion)

    run(made, steps)


def test_only_the_outputs_asked_for_come_back_in_the_order_asked(made: serving.Project) -> None:
    async def steps(asked: Asked) -> None:
        found = await asked.client.infer("tiny", [tensor()], outputs=outputs("label"))
        assert [one.name for one in found.get_response().outputs] == ["label"]
        found = await asked.client.infer("tiny", [tensor()], outputs=outputs("label", "scores"))
        assert [one.name for one in found.get_response().outputs] == ["label", "scores"]

    run(made, steps)


def test_metadata_carries_what_headers_carry_and_parameters_the_rest(
    made: serving.Project,
) -> None:
    async def steps(asked: Asked) -> None:
        headers = {"x-request-id": "g2", "x-coppice-key": "ann", "x-coppice-slices": "site=a"}
        await asked.client.infer("tiny", [tensor()], headers=headers)
        said = {"routing_key": "ann", "slices": "site=b"}
        await asked.client.infer("tiny", [tensor()], parameters=said)
        first, second = serving.stored(asked.plane.log, records.Prediction)
        assert first.request_id == "g2"
        assert first.key_hash == second.key_hash
        assert (first.slices, second.slices) == ({"site": "a"}, {"site": "b"})

    run(made, steps)


def request(**fields: Any) -> Any:
    """A request as the client's library writes it, with typed contents."""
    described = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    contents = {"fp32_contents": [1.0] * 4}
    whole = {"model_name": "tiny", "inputs": [described | {"contents": contents}], **fields}
    made_by_client: Any = service_pb2
    return made_by_client.ModelInferRequest(**whole)


async def call(asked: Asked, body: bytes) -> tuple[grpc.StatusCode, str, Any]:
    """Send bytes to ModelInfer; the status, its details and the trailing metadata."""
    sent = asked.channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")(body)
    status, details = await sent.code(), await sent.details()
    return status, details, dict(await sent.trailing_metadata())


def test_typed_contents_are_read_and_the_trailer_says_who_answered(made: serving.Project) -> None:
    async def steps(asked: Asked) -> None:
        status, _, trailer = await call(asked, request(id="g3").SerializeToString())
        assert status is grpc.StatusCode.OK
        assert trailer["x-coppice-version"] == made.champion
        assert (trailer["x-coppice-lane"], trailer["x-request-id"]) == ("stable", "g3")

    run(made, steps)


def one(**fields: Any) -> bytes:
    described = {"name": "x", "datatype": "FP32", "shape": [1, 4], **fields}
    wire: bytes = request(inputs=[described]).SerializeToString()
    return wire


RAW = bytes(16)
OK = {"fp32_contents": [1.0] * 4}

BAD: list[tuple[bytes, grpc.StatusCode, str]] = [
    (request(model_name="other").SerializeToString(), grpc.StatusCode.NOT_FOUND, "'tiny'"),
    (request(model_version="none").SerializeToString(), grpc.StatusCode.NOT_FOUND, "'none'"),
    (b"\xff\xff\xff\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, "length is broken"),
    (b"\x3a\x7f", grpc.StatusCode.INVALID_ARGUMENT, "claims 127 of 0 bytes"),
    (b"\x08\x01", grpc.StatusCode.INVALID_ARGUMENT, "wire type 0"),
    (b"\x0a\x01\xff", grpc.StatusCode.INVALID_ARGUMENT, "cannot be read"),
    (b"", grpc.StatusCode.NOT_FOUND, "this server serves 'tiny'"),
    (one(), grpc.StatusCode.INVALID_ARGUMENT, "has shape [0]"),
    (one(shape=[1, -4], contents=OK), grpc.StatusCode.INVALID_ARGUMENT, "at least 0"),
    (one(shape=[2**62], contents=OK), grpc.StatusCode.INVALID_ARGUMENT, "at most"),
    (one(shape=[1, 2], contents=OK), grpc.StatusCode.INVALID_ARGUMENT, "has shape [4]"),
    (one(datatype="FP16", contents=OK), grpc.StatusCode.INVALID_ARGUMENT, "raw_input_contents"),
    (one(datatype="FP8", contents=OK), grpc.StatusCode.INVALID_ARGUMENT, "unknown datatype"),
    (one(name="y", contents=OK), grpc.StatusCode.INVALID_ARGUMENT, "the model takes ['x']"),
    (
        one(datatype="INT8", contents={"int_contents": [128] * 4}),
        grpc.StatusCode.INVALID_ARGUMENT,
        "not a list of INT8",
    ),
    (
        one(datatype="BYTES", contents={"bytes_contents": [b"\xff"] * 4}),
        grpc.StatusCode.INVALID_ARGUMENT,
        "no UTF-8",
    ),
    (
        request(raw_input_contents=[RAW]).SerializeToString(),
        grpc.StatusCode.INVALID_ARGUMENT,
        "send one of them",
    ),
    (
        request(raw_input_contents=[RAW, RAW]).SerializeToString(),
        grpc.StatusCode.INVALID_ARGUMENT,
        "do not go with 1 inputs",
    ),
    (
        request(outputs=[{"name": "logits"}]).SerializeToString(),
        grpc.StatusCode.INVALID_ARGUMENT,
        "no output 'logits'",
    ),
    (bytes(70_000), grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
]


@pytest.mark.parametrize(("body", "status", "text"), BAD)
def test_bad_messages_are_refused_with_the_status_that_fits(
    made: serving.Project, body: bytes, status: grpc.StatusCode, text: str
) -> None:
    async def steps(asked: Asked) -> None:
        found, details, _ = await call(asked, body)
        assert (found, text in details) == (status, True), details

    run(made, steps)


def test_a_small_message_does_not_unfold_into_a_large_one(made: serving.Project) -> None:
    async def steps(asked: Asked) -> None:
        zeros = np.zeros((500_000, 4), dtype=np.float32)
        with pytest.raises(triton.InferenceServerException, match="larger than max"):
            await asked.client.infer("tiny", [tensor(zeros)], compression_algorithm="gzip")

    run(made, steps)


def test_compressed_messages_are_read(made: serving.Project) -> None:
    async def steps(asked: Asked) -> None:
        found = await asked.client.infer("tiny", [tensor()], compression_algorithm="gzip")
        assert found.as_numpy("label").tolist() == [1, 0]

    run(made, steps)


def test_without_a_champion_the_server_lives_but_is_not_ready(made: serving.Project) -> None:
    async def steps(asked: Asked) -> None:
        asked.plane.switchboard.lanes = None
        assert await asked.client.is_server_live()
        assert not await asked.client.is_server_ready()
        assert not await asked.client.is_model_ready("tiny")
        status, _, trailer = await call(asked, request().SerializeToString())
        assert status is grpc.StatusCode.UNAVAILABLE
        assert trailer["grpc-retry-pushback-ms"] == "1000"

    run(made, steps)


def test_an_unforeseen_error_is_not_told_to_the_client(made: serving.Project) -> None:
    async def steps(asked: Asked) -> None:
        whole, asked.plane.engine = asked.plane.engine, None  # type: ignore[assignment]
        status, details, _ = await call(asked, request().SerializeToString())
        asked.plane.engine = whole
        assert status is grpc.StatusCode.INTERNAL
        assert details == "unforeseen error; see the server's log"

    run(made, steps)


def test_a_wait_that_the_client_bounds_by_metadata_ends_like_a_deadline(tmp_path: Path) -> None:
    made = serving.project(tmp_path)
    made.route(champion=made.add(artifacts.slow_classifier, steps=50))

    async def steps(asked: Asked) -> None:
        headers = {"x-coppice-timeout": "0.001"}
        with pytest.raises(triton.InferenceServerException, match="DEADLINE_EXCEEDED"):
            await asked.client.infer("tiny", [tensor()], headers=headers)

    run(made, steps)


def test_a_deadline_ends_the_wait_and_the_server_goes_on(tmp_path: Path) -> None:
    made = serving.project(tmp_path)
    # Slow enough that the wait is long over before the answer would be there.
    made.route(champion=made.add(artifacts.slow_classifier, steps=100))

    async def steps(asked: Asked) -> None:
        with pytest.raises(triton.InferenceServerException, match="Deadline Exceeded"):
            await asked.client.infer("tiny", [tensor()], client_timeout=0.01)
        found = await asked.client.infer("tiny", [tensor()], request_id="patient")
        assert found.as_numpy("label").tolist() == [1, 0]
        # What nobody waited for was not answered, so it is not in the log either.
        predictions = serving.stored(asked.plane.log, records.Prediction)
        assert [one.request_id for one in predictions] == ["patient"]

    run(made, steps)


@pytest.mark.parametrize("kind", sorted(typed.KINDS))
def test_each_datatype_is_answered(tmp_path: Path, kind: str) -> None:
    made = serving.project(tmp_path)
    made.route(champion=made.add(functools.partial(typed.summing_classifier, kinds=(kind,))))
    values: list[Any] = ["yes", "nothing"] if kind == "BYTES" else [1, 0]
    row = np.array([values], dtype=typed.KINDS[kind])

    async def steps(asked: Asked) -> None:
        found = await asked.client.infer("tiny", [tensor(row, name=kind.lower(), kind=kind)])
        # softmax([-0.5, 0.5]) of "yes".
        assert found.as_numpy("scores")[0, 1] == pytest.approx(1 / (1 + np.exp(-1.0)), rel=1e-5)

    run(made, steps)
