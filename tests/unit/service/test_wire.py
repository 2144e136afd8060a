"""Connections below ASGI, over real sockets: the short way and the long way say the same."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from _bentoml_impl.worker import service as worker
from uvicorn import config as uvicorn_config

from coppice import records
from service import compose, front, intake, wire
from tests.support import artifacts, serving, sockets


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(tmp_path)


def binary() -> bytes:
    parameters = {"binary_data_size": 16}
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": parameters}
    said = {"id": "r1", "inputs": [tensor], "parameters": {"binary_data_output": True}}
    head = json.dumps(said).encode()
    headers = {"inference-header-content-length": str(len(head))}
    return sockets.raw(head + bytes(16), headers)


WHOLE = {
    "JSON": sockets.raw(serving.infer_body(id="r1")),
    "binary": binary(),
    "named version": sockets.raw(
        serving.infer_body(id="r1"), line=f"POST {serving.INFER[:-6]}/versions/none/infer HTTP/1.1"
    ),
    "a time to answer in": sockets.raw(
        serving.infer_body(id="r1"), {**sockets.JSON, "x-coppice-timeout": "20"}
    ),
    "compressed answer": sockets.raw(
        serving.infer_body(id="r1"), {**sockets.JSON, "accept-encoding": "gzip"}
    ),
    "no JSON": sockets.raw(b"{"),
    "no body": sockets.raw(),
    "another model": sockets.raw(b"{}", line="POST /v2/models/other/infer HTTP/1.1"),
    "no such path": sockets.raw(b"{}", line="POST /v2/models/tiny/a/b/c/infer HTTP/1.1"),
    "another type": sockets.raw(b"{}", {"content-type": "text/plain"}),
    "a broken slice": sockets.raw(
        serving.infer_body(), {**sockets.JSON, "x-coppice-slices": "a b c"}
    ),
    "a name in capitals": sockets.raw(serving.infer_body(), {"X-Request-ID": "r1"}),
}

LONG_WAY = {
    "chunked": sockets.raw(
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(serving.infer_body(id="r1")), serving.infer_body(id="r1")),
        {"transfer-encoding": "chunked"},
        sized=False,
    ),
    "compressed": sockets.raw(
        gzip.compress(serving.infer_body(id="r1"), mtime=0), {"content-encoding": "gzip"}
    ),
    "larger than is small": sockets.raw(serving.infer_body(id="r1") + b" " * intake.SMALL),
    "closed afterwards": sockets.raw(serving.infer_body(id="r1"), {"connection": "close"}),
    "old": sockets.raw(serving.infer_body(id="r1"), line=f"POST {serving.INFER} HTTP/1.0"),
    "another method": sockets.raw(line=f"PUT {serving.INFER} HTTP/1.1"),
    "with a query": sockets.raw(
        serving.infer_body(id="r1"), line=f"POST {serving.INFER}?a=/infer HTTP/1.1"
    ),
    "with a query that looks alike": sockets.raw(
        b"", line="POST /v2/models/tiny?a=/infer HTTP/1.1"
    ),
    "escaped": sockets.raw(
        serving.infer_body(id="r1"), line="POST /v2/models/%74iny/infer HTTP/1.1"
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_request_gets_the_same_bytes_by_the_short_way(
    made: serving.Project, name: str
) -> None:
    async def steps(opened: compose.Plane) -> None:
        door = sockets.door_of(opened)
        async with sockets.listening(door) as short, sockets.listening(door, "uvicorn") as long:
            assert await short.ask(WHOLE[name]) == await long.ask(WHOLE[name])
            assert (short.asgi.came, len(long.asgi.came)) == ([], 1)
            assert short.state.total_requests == long.state.total_requests == 1

    sockets.run(made, steps)


@pytest.mark.parametrize("name", LONG_WAY)
def test_what_is_special_takes_the_long_way(made: serving.Project, name: str) -> None:
    async def steps(opened: compose.Plane) -> None:
        door = sockets.door_of(opened)
        async with sockets.listening(door) as short, sockets.listening(door, "uvicorn") as long:
            assert await short.ask(LONG_WAY[name]) == await long.ask(LONG_WAY[name])
            assert len(short.asgi.came) == len(long.asgi.came) == 1

    sockets.run(made, steps)


def test_a_client_that_waits_to_be_told_to_send_its_body_is_told(made: serving.Project) -> None:
    body = serving.infer_body(id="r1")
    whole = sockets.raw(body, {"expect": "100-continue"})

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            writer.write(whole[: -len(body)])
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await sockets.one(reader)).startswith(b"HTTP/1.1 200 OK")
            writer.close()

    sockets.run(made, steps)


def test_a_body_in_pieces_is_waited_for_by_the_long_way(made: serving.Project) -> None:
    whole = WHOLE["JSON"]

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            answer = await place.ask(whole[:-40], whole[-40:-20], whole[-20:])
            assert answer == await place.ask(whole)
            assert place.asgi.came == [serving.INFER]

    sockets.run(made, steps)


def test_a_head_in_pieces_does_not_matter(made: serving.Project) -> None:
    whole = WHOLE["JSON"]

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            answer = await place.ask(whole[:9], whole[9:40], whole[40:])
            assert answer == await place.ask(whole)
            assert place.asgi.came == []

    sockets.run(made, steps)


def test_requests_sent_at_once_are_answered_in_their_order(made: serving.Project) -> None:
    names = [f"r{number}" for number in range(6)]
    wire_bytes = b"".join(sockets.raw(serving.infer_body(id=name)) for name in names)

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            writer.write(wire_bytes)
            answers = [await sockets.one(reader) for _ in names]
            found = [json.loads(answer.split(b"\r\n\r\n", 1)[1])["id"] for answer in answers]
            assert found == names
            # The connection goes on, by the short way again.
            before = len(place.asgi.came)
            writer.write(WHOLE["JSON"])
            assert (await sockets.one(reader)).startswith(b"HTTP/1.1 200 OK")
            assert len(place.asgi.came) == before
            writer.close()

    sockets.run(made, steps)


def test_other_paths_and_ours_share_a_connection(made: serving.Project) -> None:
    ready = sockets.raw(line="GET /v2/health/ready HTTP/1.1")

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            for part in (WHOLE["JSON"], ready, WHOLE["binary"], ready):
                writer.write(part)
                assert (await sockets.one(reader)).startswith(b"HTTP/1.1 200 OK")
            assert place.asgi.came == ["/v2/health/ready"] * 2
            writer.close()

    sockets.run(made, steps)


def test_the_head_of_an_answer_can_be_asked_for_alone(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            writer.write(sockets.raw(line="HEAD /v2 HTTP/1.1"))
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(sockets.raw(line="GET /v2 HTTP/1.1"))
            assert (await sockets.one(reader)).startswith(head)
            writer.close()

    sockets.run(made, steps)


@pytest.mark.parametrize(
    "path", ["/v2/models/tiny%2Finfer", "/v2%2fmodels/tiny/infer", "/v2/health%2Flive"]
)
def test_an_escaped_slash_is_no_border_between_names(made: serving.Project, path: str) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            assert (await place.ask(sockets.raw(b"{}", line=f"POST {path} HTTP/1.1"))).startswith(
                b"HTTP/1.1 404 Not Found"
            )

    sockets.run(made, steps)


def test_what_is_no_http_is_refused(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            writer.write(b"nonsense\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request")
            writer.close()

    sockets.run(made, steps)


def test_the_answer_to_a_client_that_hung_up_is_stored(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            _, writer = await place.connect()
            writer.write(WHOLE["JSON"])
            await writer.drain()
            writer.transport.abort()
            await serving.until(lambda: bool(serving.stored(opened.log, records.Prediction)))
            assert (await place.ask(WHOLE["binary"])).startswith(b"HTTP/1.1 200 OK")

    sockets.run(made, steps)


def test_a_failing_model_is_answered_as_by_the_long_way(made: serving.Project) -> None:
    made.route(champion=made.add(artifacts.failing_classifier, above=1.5))
    failing = sockets.raw(serving.infer_body([[2.0] * 4], id="r1"))

    async def steps(opened: compose.Plane) -> None:
        door = sockets.door_of(opened)
        async with sockets.listening(door) as short, sockets.listening(door, "uvicorn") as long:
            answer = await short.ask(failing)
            assert answer.startswith(b"HTTP/1.1 503")
            assert answer == await long.ask(failing)

    sockets.run(made, steps)


def test_a_request_that_is_under_way_is_answered_before_its_connection_is_drained() -> None:
    async def main() -> None:
        slow = sockets.Slow()
        async with sockets.listening(slow) as place, asyncio.timeout(30.0):
            reader, writer = await place.connect()
            idle, other = await place.connect()
            writer.write(sockets.raw(b"{}"))
            await slow.asked
            await serving.until(lambda: len(place.state.connections) == 2)
            for connection in place.ours:
                connection.shutdown()
            slow.gate.set_result(None)
            assert b"\r\nconnection: close\r\n" in await sockets.one(reader)
            assert await reader.read() == b""
            assert await idle.read() == b""
            await serving.until(lambda: not place.state.connections)
            writer.close()
            other.close()

    asyncio.run(main())


def test_nothing_is_written_to_a_client_that_hung_up() -> None:
    async def main() -> None:
        slow = sockets.Slow()
        async with sockets.listening(slow) as place, asyncio.timeout(30.0):
            _, writer = await place.connect()
            writer.write(sockets.raw(b"{}"))
            await slow.asked
            sockets.hang_up(writer)
            await serving.until(lambda: not place.state.connections)
            slow.gate.set_result(None)
            await asyncio.sleep(0)
            assert place.state.total_requests == 0

    asyncio.run(main())


def test_a_connection_without_requests_is_closed_after_its_time(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), keep_alive=0.05) as place:
            reader, writer = await place.connect()
            writer.write(WHOLE["JSON"])
            await sockets.one(reader)
            assert await reader.read() == b""
            writer.close()

    sockets.run(made, steps)


def test_a_client_that_goes_on_keeps_its_connection(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), keep_alive=0.2) as place:
            reader, writer = await place.connect()
            for _ in range(8):
                writer.write(WHOLE["JSON"])
                assert (await sockets.one(reader)).startswith(b"HTTP/1.1 200 OK")
                await asyncio.sleep(0.05)
            # A request that has begun is not cut off either.
            writer.write(WHOLE["JSON"][:30])
            await asyncio.sleep(0.4)
            writer.write(WHOLE["JSON"][30:])
            assert (await sockets.one(reader)).startswith(b"HTTP/1.1 200 OK")
            writer.close()

    sockets.run(made, steps)


def test_before_the_data_plane_is_open_the_inner_application_answers() -> None:
    async def main() -> None:
        door = front.Front(serving.nothing, lambda: None)
        async with sockets.listening(door) as place, asyncio.timeout(30.0):
            reader, writer = await place.connect()
            writer.write(sockets.raw(b"{}", {"connection": "close"}))
            assert (await reader.read()).startswith(b"HTTP/1.1 404")
            assert place.asgi.came == [serving.INFER]
            writer.close()

    asyncio.run(main())


def test_the_server_that_bentoml_starts_makes_our_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(uvicorn_config.HTTP_PROTOCOLS, "auto", "uvicorn.protocols.http.auto:none")
    wire.install(front.Front(serving.nothing, lambda: None))
    config = uvicorn.Config(serving.nothing, log_config=None)
    config.load()
    made: Any = config.http_protocol_class
    assert made.func is wire.Protocol
    # It leaves uvicorn the choice of the protocol class.
    assert "http=" not in inspect.getsource(worker)
