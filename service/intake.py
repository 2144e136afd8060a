"""Bodies are read within bounds: of size, of time, and of what all of them together may hold.

Called by the doors before anything is decoded. One timer watches all bodies that are on their way,
because a timer for each costs more than reading a small one. Only large bodies are counted: what
small ones hold is bounded by the queues and by the number of connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from coppice import errors, settings
from service import http

SMALL = 65_536
"""Bodies up to so many bytes are not counted."""
SWEEP_SECONDS = 0.5
"""Pause between two looks at which bodies take too long."""


class BodyTooSlow(errors.RequestError):
    """The body did not arrive within `serve.deadline_seconds`. Send it again, whole."""

    http_status = 408


class Intake:
    """Reads bodies, and knows how much of them is in memory.

    Parameters
    ----------
    serve
        The bounds.
    loop
        The worker's event loop.
    """

    def __init__(self, serve: settings.ServeSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._limit = serve.max_body_bytes
        self.small = min(SMALL, self._limit)
        """Bodies up to so many bytes need not pass through here."""
        self._room = serve.max_pending_bytes
        self._seconds = serve.deadline_seconds
        self._loop = loop
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._holding: dict[asyncio.Task[Any] | None, int] = {}
        self._held = 0

    async def read(self, receive: http.Receive, headers: http.Headers) -> bytes:
        """Read the body of the request that this task answers; `done` lets go of it.

        Raises
        ------
        Overloaded
            The bodies in memory hold as much as they may.
        BodyTooSlow
            It takes too long.
        RequestError
            As `http.read_body`.
        """
        announced = headers.get(b"content-length", b"")
        if not (announced.isdigit() and len(announced) <= 20 and int(announced) <= SMALL):
            receive = self._counted(receive)
        task = asyncio.current_task()
        if task is None:
            message = "a body is read by a task only"
            raise RuntimeError(message)
        self._reading[task] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        try:
            return await http.read_body(receive, headers, self._limit)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise BodyTooSlow from None
        finally:
            del self._reading[task]
            if self._late:
                self._late.discard(task)

    def done(self) -> None:
        """Let go of the body of the request that this task has answered."""
        if self._holding:
            self._held -= self._holding.pop(asyncio.current_task(), 0)

    def _counted(self, receive: http.Receive) -> http.Receive:
        """Count what this task receives."""
        task = asyncio.current_task()

        async def counted() -> http.Message:
            message = await receive()
            size = len(message.get("body", b""))
            if self._held + size > self._room:
                raise errors.Overloaded
            self._held += size
            self._holding[task] = self._holding.get(task, 0) + size
            return message

        return counted

    def _sweep(self) -> None:
        now = self._loop.time()
        for task, due in self._reading.items():
            if due > now:
                break  # the others began later
            if task not in self._late:
                self._late.add(task)
                task.cancel()
        again = bool(self._reading)
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep) if again else None
