"""What goes wrong on purpose: swaps, kills, slow clients, garbage, clients that hang up."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

import asking
import numpy as np
import psutil

from tests.support import serving

SLOW_SECONDS = 0.2
"""Pause of a slow client between two bytes."""


class Swaps:
    """Changes the routing table, again and again: champion, candidate, weight and mirroring.

    `sound` versions may be champion; `unsound` ones are candidates that fail at some requests, or
    that cannot be loaded at all.
    """

    def __init__(
        self,
        made: serving.Project,
        sound: Sequence[str],
        unsound: Sequence[str],
        draw: random.Random,
    ) -> None:
        self._made = made
        self._sound = sound
        self._unsound = unsound
        self._draw = draw
        self.made = 0

    async def turn(self) -> None:
        """Write the next routing table."""
        champion, other, parent = self._draw.sample(self._sound, 3)
        candidate = self._unsound[self.made // 2 % len(self._unsound)] if self.made % 2 else other
        await asyncio.to_thread(
            self._made.route,
            champion=champion,
            candidate=candidate,
            parent=parent,
            weight=self._draw.choice((0.05, 0.5, 1.0)),
            mirror=self._draw.choice((0.0, 0.3, 1.0)),
            parent_mirror=self._draw.choice((0.0, 0.3)),
        )
        self.made += 1


class Kills:
    """Kills workers with SIGKILL: any but the one whose memory is watched."""

    def __init__(self, running: serving.Server) -> None:
        self._running = running
        self.spared = min(workers(running), key=lambda process: process.pid)
        self.made = 0

    async def turn(self) -> None:
        """Kill a worker; where the last one killed is not replaced yet, nothing is killed."""
        others = [process for process in workers(self._running) if process != self.spared]
        if others:
            others[0].kill()
            self.made += 1


def workers(running: serving.Server) -> list[psutil.Process]:
    """The workers that live."""
    return [p for p in running.family()[1:] if p.status() != psutil.STATUS_ZOMBIE]


class Nuisance:
    """A client that behaves badly, each time in another way, beginning with the `first`."""

    def __init__(self, port: int, found: asking.Found, draw: random.Random, first: int) -> None:
        self._port = port
        self._found = found
        self._draw = draw
        self._next = first
        self.made = 0

    async def turn(self) -> None:
        """Do one bad thing."""
        kinds = (self._slow_head, self._half_a_body, self._garbage, self._nonsense, self._hang_up)
        self.made += 1
        self._next = (self._next + 1) % len(kinds)
        with contextlib.suppress(OSError, EOFError, TimeoutError, asking.Broken):
            await kinds[self._next]()

    async def _slow_head(self) -> None:
        """Send a head byte by byte, and never finish it."""
        async with self._connected() as (_, writer):
            for byte in asking.raw(asking.MODEL_PATH, b"{}")[:40]:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(SLOW_SECONDS)

    async def _half_a_body(self) -> None:
        """Promise a body, send half of it, wait, hang up."""
        body, headers = asking.as_json("half", np.ones((4, 4), np.float32))
        async with self._connected() as (_, writer):
            request = asking.raw(asking.MODEL_PATH, body, headers)
            writer.write(request[: -len(body) // 2])
            await writer.drain()
            await asyncio.sleep(20 * SLOW_SECONDS)

    async def _garbage(self) -> None:
        """Send what is not HTTP."""
        async with self._connected() as (reader, writer):
            writer.write(self._draw.randbytes(self._draw.randrange(1, 4000)) + b"\r\n\r\n")
            await reader.read(1000)

    async def _nonsense(self) -> None:
        """Send what is HTTP, but no request: it must be refused as the client's mistake."""
        path = self._draw.choice(
            (asking.MODEL_PATH, "/feedback", "/v2/models/tiny/versions/x/infer")
        )
        body, headers = asking.as_binary("torn", np.ones((4, 4), np.float32))
        torn = bytearray(body)
        for _ in range(self._draw.randrange(1, 20)):
            torn[self._draw.randrange(len(torn) - 64)] = self._draw.randrange(256)
        answer = await asking.Connection(self._port).ask(path, bytes(torn), headers)
        self._found.outcomes[f"nonsense {answer.status}"] += 1
        if answer.status >= 500 and answer.status != 503:
            self._found.blame(f"nonsense got {answer.status}: {bytes(torn)!r}")

    async def _hang_up(self) -> None:
        """Send a sound request and leave without waiting for its answer."""
        body, headers = asking.as_json("", np.ones((1, 4), np.float32))
        async with self._connected() as (_, writer):
            writer.write(asking.raw(asking.MODEL_PATH, body, headers))
            await writer.drain()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            async with asyncio.timeout(asking.ANSWER_SECONDS):
                yield reader, writer
        finally:
            writer.close()
