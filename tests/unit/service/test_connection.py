"""Connections from hostile and thrifty clients: real sockets, with and without the short cut."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from service import compose, connection, intake
from tests.support import serving, sockets

READY = sockets.raw(line="GET /v2/health/ready HTTP/1.1")
GOOD = sockets.raw(serving.infer_body(id="r1"))
CHUNKED = {**sockets.JSON, "transfer-encoding": "chunked"}
BROKEN = sockets.raw(b"zz\r\n", CHUNKED, sized=False)
KINDS: tuple[sockets.Kind, ...] = ("short", "asgi")

both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(tmp_path)


def chunked(*behind: str) -> bytes:
    """An inference request in one chunk, with trailers."""
    body = serving.infer_body(id="r1")
    trailers = "".join(f"{line}\r\n" for line in behind).encode()
    return sockets.raw(
        b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers), CHUNKED, sized=False
    )


@both
def test_requests_sent_far_ahead_are_not_parsed_before_their_turn(kind: sockets.Kind) -> None:
    async def main() -> None:
        slow = sockets.Slow()
        async with sockets.listening(slow, kind) as place, asyncio.timeout(60.0):
            reader, writer = await place.connect()
            writer.write(sockets.raw(b"{}") + READY * 5_000)
            await slow.asked
            await serving.until(lambda: any(one.held for one in place.ours))
            (ours,) = place.ours
            # A stride of 16 KiB holds 16,384 / 69 = 237 of these.
            assert len(ours.pipeline) <= connection.STRIDE // len(READY) + 1
            slow.gate.set_result(None)
            answers = [await sockets.one(reader) for _ in range(5_001)]
            assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}
            assert place.state.total_requests == 5_001
            writer.close()

    asyncio.run(main())


ENDLESS = {
    "a header's value": (b"GET / HTTP/1.1\r\nhost: here\r\na: ", b"b" * 40_000),
    "headers": (b"GET / HTTP/1.1\r\nhost: here\r\n", b"a: b\r\n" * 7_000),
    "a path": (b"GET /", b"a" * 40_000),
    "trailers": (sockets.raw(b"0\r\n", CHUNKED, sized=False), b"a: b\r\n" * 7_000),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_refused_and_the_refusal_arrives(
    made: serving.Project, name: str
) -> None:
    begun, more = ENDLESS[name]

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            writer.write(begun)
            # Four times as much as may come; what the server no longer wants does no harm.
            for _ in range(6):
                writer.write(more)
                await writer.drain()
            answer = await sockets.one(reader)
            assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
            assert b"\r\nconnection: close\r\n" in answer
            assert await reader.read() == b""
            writer.close()

    sockets.run(made, steps)


@both
def test_a_large_head_that_ends_is_taken(made: serving.Project, kind: sockets.Kind) -> None:
    many = {**sockets.JSON, **{f"x-{place}": "a" * 90 for place in range(500)}}
    large = sockets.raw(serving.infer_body(id="r1"), many)

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            assert await place.ask(large[:30_000], large[30_000:]) == await place.ask(GOOD)

    sockets.run(made, steps)


@both
def test_trailers_are_no_headers(made: serving.Project, kind: sockets.Kind) -> None:
    behind = chunked("x-request-id: other", "content-encoding: gzip", "content-type: a/b")

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            assert await place.ask(behind) == await place.ask(GOOD)

    sockets.run(made, steps)


WISHES = {
    "HTTP/2 in plain text": {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"},
    "a web socket": {"connection": "keep-alive, Upgrade", "upgrade": "websocket"},
}


@both
@pytest.mark.parametrize("name", WISHES)
def test_a_wish_to_upgrade_is_passed_over(
    made: serving.Project, name: str, kind: sockets.Kind
) -> None:
    wishing = sockets.raw(serving.infer_body(id="r1"), {**sockets.JSON, **WISHES[name]})

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            expected = await place.ask(GOOD)
            reader, writer = await place.connect()
            writer.write(wishing * 3 + READY)
            assert [await sockets.one(reader) for _ in range(3)] == [expected] * 3
            assert (await sockets.one(reader)).startswith(b"HTTP/1.1 200 OK")
            for part in (wishing[:50], wishing[50:-20], wishing[-20:]):
                writer.write(part)
                await asyncio.sleep(0.02)
            assert await sockets.one(reader) == expected
            writer.close()

    sockets.run(made, steps)


def test_a_wish_to_upgrade_does_not_hide_that_the_connection_is_to_close(
    made: serving.Project,
) -> None:
    headers = {**sockets.JSON, "connection": "upgrade, close", "upgrade": "h2c"}

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            writer.write(sockets.raw(serving.infer_body(id="r1"), headers))
            assert b"\r\nconnection: close\r\n" in await sockets.one(reader)
            assert await reader.read() == b""
            writer.close()

    sockets.run(made, steps)


REFUSED = {
    "no host": (GOOD.replace(b"host: here\r\n", b""), "the request has 0 Host headers; send one"),
    "two hosts": (
        sockets.raw(serving.infer_body(), {**sockets.JSON, "Host": "there"}),
        "the request has 2 Host headers; send one",
    ),
    "a tunnel": (
        sockets.raw(line="CONNECT here:80 HTTP/1.1"),
        "there is no CONNECT here: this is no proxy",
    ),
    "two lengths": (
        sockets.raw(b"{}", {"Content-Length": "2"}),
        "This is no HTTP/1.1 request. Send it as RFC 9112 has it.",
    ),
    "a length and chunks": (
        sockets.raw(b"{}", CHUNKED),
        "This is no HTTP/1.1 request. Send it as RFC 9112 has it.",
    ),
}


@both
@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(
    made: serving.Project, name: str, kind: sockets.Kind
) -> None:
    sent, reason = REFUSED[name]

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            answer = await place.ask(sent)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request")
            assert json.loads(answer.split(b"\r\n\r\n")[1]) == {"error": reason}

    sockets.run(made, steps)


def test_an_old_client_is_not_told_to_go_on(made: serving.Project) -> None:
    line = f"POST {serving.INFER} HTTP/1.0"
    old = sockets.raw(serving.infer_body(id="r1"), {"expect": "100-continue"}, line)

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            assert (await place.ask(old)).startswith(b"HTTP/1.1 200 OK")

    sockets.run(made, steps)


@both
@pytest.mark.parametrize("rest", [b"nonsense\r\n\r\n", BROKEN, READY + BROKEN])
def test_what_is_no_request_is_refused_behind_the_answers_before_it(
    made: serving.Project, kind: sockets.Kind, rest: bytes
) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            expected = await place.ask(GOOD)
            reader, writer = await place.connect()
            writer.write(GOOD + rest)
            writer.write_eof()
            assert await sockets.one(reader) == expected
            behind = [b"200"] * rest.count(READY) + [b"400"]
            assert sockets.statuses(await reader.read()) == behind
            writer.close()

    sockets.run(made, steps)


def test_what_is_no_request_is_refused_though_an_answer_is_still_under_way() -> None:
    async def main() -> None:
        slow = sockets.Slow()
        async with sockets.listening(slow) as place, asyncio.timeout(30.0):
            reader, writer = await place.connect()
            writer.write(sockets.raw(b"{}"))
            await slow.asked
            (ours,) = place.ours
            writer.write(b"nonsense\r\n\r\n")
            await serving.until(lambda: ours.refusal is not None)
            slow.gate.set_result(None)
            assert (await sockets.one(reader)).startswith(b"HTTP/1.1 200 OK")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request")
            writer.close()

    asyncio.run(main())


@both
def test_a_body_that_breaks_off_into_nonsense_is_refused_at_once(
    made: serving.Project, kind: sockets.Kind
) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            reader, writer = await place.connect()
            writer.write(BROKEN[:-4])
            await serving.until(lambda: len(place.asgi.came) == 1)
            writer.write(BROKEN[-4:])
            assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request")
            writer.close()
            await serving.until(lambda: not place.state.connections)

    sockets.run(made, steps)


@both
def test_a_client_that_closed_its_side_gets_its_answers(
    made: serving.Project, kind: sockets.Kind
) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            reader, writer = await place.connect()
            writer.write(GOOD + READY + GOOD)
            writer.write_eof()
            answers = [await sockets.one(reader) for _ in range(3)]
            assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * 3
            assert await reader.read() == b""
            writer.close()
            await serving.until(lambda: not place.state.connections)

    sockets.run(made, steps)


def test_a_client_that_closed_its_side_waits_as_long_as_its_answer_takes() -> None:
    async def main() -> None:
        slow = sockets.Slow()
        async with sockets.listening(slow) as place, asyncio.timeout(30.0):
            reader, writer = await place.connect()
            writer.write(sockets.raw(b"{}"))
            writer.write_eof()
            await slow.asked
            await asyncio.sleep(0.05)
            slow.gate.set_result(None)
            assert (await sockets.one(reader)).endswith(b"\r\n\r\n{}")
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


@both
@pytest.mark.parametrize("sent", [b"", GOOD[:20], GOOD[:-10], READY[:-2]])
def test_a_client_that_closed_its_side_within_a_request_is_let_go(
    made: serving.Project, kind: sockets.Kind, sent: bytes
) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            reader, writer = await place.connect()
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await serving.until(lambda: not place.state.connections)

    sockets.run(made, steps)


@both
def test_a_whole_body_above_the_limit_is_refused(tmp_path: Path, kind: sockets.Kind) -> None:
    made = serving.project(tmp_path, serve={"max_body_bytes": 1024})
    large = sockets.raw(serving.infer_body(id="r1") + b" " * 1024)

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            assert (await place.ask(large)).startswith(b"HTTP/1.1 413 ")
            assert (await place.ask(GOOD)).startswith(b"HTTP/1.1 200 OK")

    sockets.run(made, steps)


def test_a_length_with_many_zeros_in_front_is_not_taken_for_a_small_one(
    made: serving.Project,
) -> None:
    body = serving.infer_body(id="r1") + b" " * (2 * intake.SMALL)
    padded = {**sockets.JSON, "content-length": f"{len(body):040}"}
    sent = sockets.raw(body, padded, sized=False)

    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            writer.write(sent)
            assert (await sockets.one(reader)).startswith(b"HTTP/1.1 200 OK")
            assert place.asgi.came == [serving.INFER]
            writer.close()

    sockets.run(made, steps)


@both
def test_draining_ends_a_connection_behind_the_request_under_way(kind: sockets.Kind) -> None:
    async def main() -> None:
        slow = sockets.Slow()
        async with sockets.listening(slow, kind) as place, asyncio.timeout(30.0):
            reader, writer = await place.connect()
            writer.write(sockets.raw(b"{}") + READY * 1_000)
            await slow.asked
            await serving.until(lambda: any(one.held for one in place.ours))
            (ours,) = place.ours
            ahead = len(ours.pipeline)
            ours.shutdown()
            slow.gate.set_result(None)
            answers = [await sockets.one(reader) for _ in range(1 + ahead)]
            assert b"\r\nconnection: close\r\n" in answers[-1]
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


@both
def test_a_request_that_was_on_its_way_when_the_server_ends_is_answered(
    made: serving.Project, kind: sockets.Kind
) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened), kind) as place:
            reader, writer = await place.connect()
            writer.write(GOOD)
            await sockets.one(reader)
            (ours,) = place.ours
            ours.shutdown()
            writer.write(GOOD)
            answer = await sockets.one(reader)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"\r\nconnection: close\r\n" in answer
            assert await reader.read() == b""
            writer.close()

    sockets.run(made, steps)


@both
def test_a_connection_that_says_nothing_does_not_hold_up_the_end(kind: sockets.Kind) -> None:
    async def main() -> None:
        async with sockets.listening(sockets.Slow(), kind) as place, asyncio.timeout(30.0):
            reader, writer = await place.connect()
            await serving.until(lambda: bool(place.ours))
            (ours,) = place.ours
            ours.shutdown()
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


def test_a_connection_that_waits_for_its_next_request_keeps_no_body(
    made: serving.Project,
) -> None:
    async def steps(opened: compose.Plane) -> None:
        async with sockets.listening(sockets.door_of(opened)) as place:
            reader, writer = await place.connect()
            writer.write(GOOD)
            await sockets.one(reader)
            (ours,) = place.ours
            assert serving.infer_body(id="r1") not in sockets.bytes_of(ours)
            writer.close()

    sockets.run(made, steps)
