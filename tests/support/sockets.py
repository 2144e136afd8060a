"""Connections over real sockets: a door that listens, and requests as they go over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Literal

import uvicorn
from uvicorn import server
from uvicorn.protocols.http import httptools_impl

from service import compose, front, http, wire
from tests.support import serving

JSON = {"content-type": "application/json"}
KEEP_ALIVE = 30
Kind = Literal["short", "asgi", "uvicorn"]
"""Our class with its short cut, without it, and uvicorn's own."""


class Asgi:
    """The front door as ASGI calls it, and the paths that came this way."""

    def __init__(self, door: front.Front) -> None:
        self.door = door
        self.came: list[str] = []

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        self.came.append(scope["path"])
        await self.door(scope, receive, send)


@dataclasses.dataclass
class Place:
    """Where a door listens."""

    port: int
    asgi: Asgi
    state: server.ServerState

    @property
    def ours(self) -> list[wire.Protocol]:
        """The connections of our own class."""
        return [one for one in self.state.connections if isinstance(one, wire.Protocol)]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, *parts: bytes) -> bytes:
        """Send these bytes, each part when the one before was read, and return the answer."""
        reader, writer = await self.connect()
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        answer = await one(reader)
        writer.close()
        return answer


async def one(reader: asyncio.StreamReader) -> bytes:
    """Read one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


@contextlib.asynccontextmanager
async def listening(
    door: Any, kind: Kind = "short", *, keep_alive: float = KEEP_ALIVE
) -> AsyncIterator[Place]:
    """Listen with one of the protocol classes."""
    asgi = Asgi(door)
    config = uvicorn.Config(asgi, log_config=None, timeout_keep_alive=keep_alive)  # type: ignore[arg-type]
    config.load()
    state = server.ServerState()
    state.default_headers = [(b"date", b"today")]
    made_by: Any = httptools_impl.HttpToolsProtocol
    if kind != "uvicorn":
        made_by = functools.partial(wire.Protocol, door=door if kind == "short" else None)
    loop = asyncio.get_running_loop()
    made = await loop.create_server(lambda: made_by(config, state, {}, loop), "127.0.0.1", 0)
    async with made:
        yield Place(made.sockets[0].getsockname()[1], asgi, state)
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


def run(made: serving.Project, steps: Callable[[compose.Plane], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with serving.plane(made) as opened, asyncio.timeout(60.0):
            await steps(opened)

    asyncio.run(main())


def door_of(opened: compose.Plane) -> front.Front:
    return front.Front(serving.nothing, lambda: opened)


def raw(
    body: bytes = b"", headers: dict[str, str] | None = None, line: str = "", *, sized: bool = True
) -> bytes:
    """A request as it goes over the wire."""
    head = [line or f"POST {serving.INFER} HTTP/1.1", "host: here"]
    head += [f"content-length: {len(body)}"] * sized
    head += [f"{name}: {value}" for name, value in (JSON if headers is None else headers).items()]
    return "\r\n".join((*head, "", "")).encode() + body


def hang_up(writer: asyncio.StreamWriter) -> None:
    """Leave at once: the server is told that nobody reads any more."""
    leaving = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, leaving)
    writer.transport.abort()


class Slow:
    """A door that answers when it is told to."""

    small = 65_536

    def __init__(self) -> None:
        self.asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def infer(self, path: str, headers: http.Headers, body: bytes) -> http.Response:
        del path, headers, body
        self.asked.set_result(None)
        await self.gate
        return http.Response(200, b"{}")

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer inference when told to, and everything else at once."""
        del receive
        if scope["path"] == serving.INFER:
            response = await self.infer(scope["path"], {}, b"")
        else:
            response = http.Response(200, b"{}")
        await http.respond(send, response)


def statuses(sent: bytes) -> list[bytes]:
    """Return the statuses of answers whose bodies quote no status line."""
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", sent)


def bytes_of(thing: object) -> list[bytes]:
    """Return all bytes that an object holds, by itself or by lists and tuples."""
    found: list[bytes] = []
    for value in vars(thing).values():
        parts = value if isinstance(value, list | tuple) else (value,)
        found += [part for part in parts if isinstance(part, bytes)]
    return found
