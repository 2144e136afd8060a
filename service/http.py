"""HTTP as far as the data path needs it: read a bounded body, write a response.

Raw ASGI, because every layer between the socket and the engine costs more than the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from coppice import errors

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = Mapping[bytes, bytes]

JSON = (b"content-type", b"application/json")
BINARY = (b"content-type", b"application/octet-stream")

DISCARD_SECONDS = 0.5
"""Longest time for which the rest of a body that is too large is read and thrown away."""

_ENCODER = msgspec.json.Encoder()


class Response(NamedTuple):
    """A response, whole."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)


class MethodNotAllowed(errors.RequestError):
    """This path takes another method."""

    http_status = 405

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class UnsupportedMedia(errors.RequestError):
    """The body is of a type, or is compressed in a way, that is not understood here."""

    http_status = 415


class ClientGone(Exception):
    """The client hung up before its request was whole; there is nobody to answer."""


def as_json(content: Any, status: int = 200) -> Response:
    """Return a response with a JSON body."""
    return Response(status, _ENCODER.encode(content))


def as_error(cause: errors.CoppiceError) -> Response:
    """Return the response that an error asks for: its text, and when to come again.

    >>> as_error(errors.RequestError("no such input"))[:2]
    (400, b'{"error":"no such input"}')
    """
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)
    if cause.http_status in {429, 503, 507}:
        headers = (*headers, (b"retry-after", b"1"))
    if cause.http_status in {408, 413}:
        # What was not read yet must not be taken for the next request.
        headers = (*headers, (b"connection", b"close"))
    if isinstance(cause, MethodNotAllowed):
        headers = (*headers, (b"allow", cause.allowed.encode()))
    return Response(cause.http_status, _ENCODER.encode({"error": str(cause)}), headers)


def check_media(headers: Headers, *spoken: tuple[bytes, bytes]) -> None:
    """Refuse a body whose `Content-Type` says that it is something else; without one it may pass.

    A browser's form is refused by this too, so that no page can send requests in its reader's name.

    Raises
    ------
    UnsupportedMedia
        The type is none of those spoken.
    """
    said = headers.get(b"content-type")
    if said is None:
        return
    for _, media in spoken:
        if said == media:
            return
    if said.partition(b";")[0].strip().lower() not in {media for _, media in spoken}:
        known = " or ".join(media.decode() for _, media in spoken)
        message = f"Content-Type is {said.decode('latin-1')[:80]!r}; send {known}"
        raise UnsupportedMedia(message)


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """Read a request's body, at most `limit` bytes of it, and undo its compression.

    Raises
    ------
    BodyTooLarge
        It is larger, as announced, as read so far, or once decompressed.
    UnsupportedMedia
        Its compression is unknown.
    RequestError
        Its compression is broken.
    ClientGone
        The client hung up.
    """
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit:
        if b"expect" not in headers:
            await _discard(receive, limit)
        raise errors.BodyTooLarge
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > limit:
            if more:
                await _discard(receive, limit)
            raise errors.BodyTooLarge
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = headers.get(b"content-encoding")
    return body if encoding is None else _decompress(body, encoding, limit)


async def _discard(receive: Receive, limit: int) -> None:
    """Read on for a moment without keeping anything.

    A client that is still sending when the connection closes would lose the refusal with it.
    """
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while size <= limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    coding = encoding.lower()
    if coding == b"identity":
        return body
    if coding not in {b"gzip", b"x-gzip", b"deflate"}:
        message = f"Content-Encoding {encoding.decode('latin-1')[:40]!r} is not gzip or deflate"
        raise UnsupportedMedia(message)
    # 32 added to the window lets zlib tell gzip from deflate by the header.
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        whole = stream.decompress(body, limit + 1)
    except zlib.error as cause:
        message = f"the body does not decompress: {cause}"
        raise errors.RequestError(message) from cause
    if len(whole) > limit:
        raise errors.BodyTooLarge
    if not stream.eof:
        message = "the compressed body ends too early"
        raise errors.RequestError(message)
    if stream.unused_data:
        message = f"{len(stream.unused_data)} bytes follow the compressed body; send one stream"
        raise errors.RequestError(message)
    return whole


_WINDOWS = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}


def compressed(response: Response, headers: Headers) -> Response:
    """Compress a response for a client that accepts `gzip` or `deflate` and names nothing else.

    Most clients offer a list of codings out of habit; squeezing a few numbers for them would cost
    more than the model. The protocol's own client names exactly the one that its user asked for.
    """
    coding = headers.get(b"accept-encoding", b"")
    window = _WINDOWS.get(coding)
    if window is None:
        return response
    squeeze = zlib.compressobj(level=1, wbits=window)
    body = squeeze.compress(response.body) + squeeze.flush()
    return response._replace(body=body, headers=(*response.headers, (b"content-encoding", coding)))


async def respond(send: Send, response: Response) -> None:
    """Send a whole response."""
    length = (b"content-length", str(len(response.body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [*response.headers, length],
        }
    )
    await send({"type": "http.response.body", "body": response.body})


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body already read, then goes on with the real one."""
    pending = [body]

    async def again() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return again
