"""Bodies and responses, without a network."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest

from coppice import errors
from service import http


def feed(*messages: dict[str, Any]) -> http.Receive:
    waiting = list(messages)

    async def receive() -> http.Message:
        return waiting.pop(0)

    return receive


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def read(receive: http.Receive, headers: dict[bytes, bytes] | None = None) -> bytes:
    return asyncio.run(http.read_body(receive, headers or {}, limit=10))


def test_a_body_in_parts_is_put_together() -> None:
    assert read(feed(part(b"ab", more=True), part(b"", more=True), part(b"c"))) == b"abc"


def test_a_body_at_the_limit_is_taken() -> None:
    assert read(feed(part(b"x" * 10)), {b"content-length": b"10"}) == b"x" * 10


def test_a_body_announced_too_large_is_refused_once_it_was_sent() -> None:
    with pytest.raises(errors.BodyTooLarge):
        read(feed(part(b"x" * 11)), {b"content-length": b"11"})


def test_a_client_that_asks_before_it_sends_is_refused_at_once() -> None:
    # Nothing is fed: reading would fail.
    with pytest.raises(errors.BodyTooLarge):
        read(feed(), {b"content-length": b"11", b"expect": b"100-continue"})


def test_a_body_far_too_large_is_not_read_to_its_end() -> None:
    # The limit is 10, and as much again is thrown away; a fourth part would fail.
    parts = [part(b"x" * 8, more=True)] * 2 + [part(b"x" * 11, more=True)]
    with pytest.raises(errors.BodyTooLarge):
        read(feed(*parts))


def test_a_client_that_stops_in_the_middle_of_a_body_too_large_is_refused_all_the_same() -> None:
    first = [part(b"x" * 11, more=True)]

    async def receive() -> http.Message:
        if not first:
            await asyncio.Event().wait()
        return first.pop()

    with pytest.raises(errors.BodyTooLarge):
        read(receive)


def test_a_client_that_hangs_up_is_no_error() -> None:
    with pytest.raises(http.ClientGone):
        read(feed(part(b"x", more=True), {"type": "http.disconnect"}))


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (b"gzip", gzip.compress(b"hello", mtime=0)),
        (b"X-GZIP", gzip.compress(b"hello", mtime=0)),
        (b"deflate", zlib.compress(b"hello")),
        (b"identity", b"hello"),
    ],
)
def test_a_compressed_body_is_unpacked(encoding: bytes, packed: bytes) -> None:
    async def unpack() -> bytes:
        return await http.read_body(feed(part(packed)), {b"content-encoding": encoding}, 100)

    assert asyncio.run(unpack()) == b"hello"


@pytest.mark.parametrize(
    ("encoding", "packed", "kind"),
    [
        (b"br", b"x", errors.RequestError),
        (b"gzip", b"no gzip", errors.RequestError),
        (b"gzip", gzip.compress(b"hello", mtime=0)[:-9], errors.RequestError),
        (b"gzip", gzip.compress(b"\0" * 100_000, mtime=0), errors.BodyTooLarge),
        (b"gzip", gzip.compress(b"hello", mtime=0) * 2, errors.RequestError),
    ],
)
def test_a_body_that_does_not_unpack_within_the_limit_is_refused(
    encoding: bytes, packed: bytes, kind: type[Exception]
) -> None:
    async def unpack() -> bytes:
        return await http.read_body(feed(part(packed)), {b"content-encoding": encoding}, 1000)

    with pytest.raises(kind):
        asyncio.run(unpack())


@pytest.mark.parametrize(
    ("cause", "status", "again"),
    [
        (errors.RequestError("no"), 400, []),
        (errors.UnknownModel("no"), 404, []),
        (errors.RepeatedFeedback("no"), 409, []),
        (errors.Overloaded("no"), 429, [(b"retry-after", b"1")]),
        (errors.NotReady("no"), 503, [(b"retry-after", b"1")]),
        (errors.LogFull("no"), 507, [(b"retry-after", b"1")]),
    ],
)
def test_an_error_says_what_is_wrong_and_when_to_come_again(
    cause: errors.CoppiceError, status: int, again: list[tuple[bytes, bytes]]
) -> None:
    response = http.as_error(cause)
    assert (response.status, response.body) == (status, b'{"error":"no"}')
    assert response.headers == (http.JSON, *again)


def test_after_a_body_too_large_the_connection_is_closed() -> None:
    assert (b"connection", b"close") in http.as_error(errors.BodyTooLarge()).headers


def test_a_body_read_once_can_be_read_again() -> None:
    async def twice() -> list[Any]:
        receive = http.replay(b"abc", feed({"type": "http.disconnect"}))
        return [await receive(), await receive()]

    assert asyncio.run(twice()) == [part(b"abc"), {"type": "http.disconnect"}]
