"""Inference requests straight off the socket: a protocol class below ASGI.

BentoML starts uvicorn, and uvicorn makes one of these for each connection (`install`). It is a
`connection.Connection` with a short cut: an inference request that arrives whole in one read is
answered by the front door without a scope, messages and a task in between. Whatever else comes
(other paths, bodies in pieces, chunked or compressed ones, requests behind one that is still
answered, clients that do not read their answers) takes the way through ASGI, with the bounds that
hold there; both ways give the same bytes.

References
----------
RFC 9112, HTTP/1.1, section 9.3 (persistence) and 9.3.2 (pipelining).
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any

from service import connection, front, http, prompt

_OURS = re.compile(rb"/v2/models/[A-Za-z0-9_.:/-]{1,1024}/infer")
"""Paths of inference, as far as they need no decoding."""


class Protocol(connection.Connection):
    """One connection.

    Parameters
    ----------
    door
        The front door; without one everything takes the way through ASGI.
    given, named
        What uvicorn gives.
    """

    def __init__(self, *given: Any, door: front.Front | None, **named: Any) -> None:
        super().__init__(*given, **named)
        self._door = door
        self._said: dict[bytes, bytes] | None = None
        """Headers of a request that may be answered here, while its body comes."""
        self._parts: list[bytes] = []
        """That body so far."""
        self._whole: tuple[front.Front, Exchange, str, dict[bytes, bytes], bytes] | None = None
        """A request that came with what is just read: its door, exchange, path, headers, body."""
        self._quiet_since: float | None = None
        """Since when nothing was heard behind the last answer given here."""
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what came, and begin with the request that it completed."""
        self._quiet_since = None
        super().data_received(data)
        if self._whole is not None:
            whole, self._whole = self._whole, None
            prompt.run(self._answer(*whole))
        elif self._said is not None:
            self._hand_on()

    def on_headers_complete(self) -> None:
        """Look whether the request may be answered here."""
        said = dict(self.headers)
        if self._is_ours(said):
            self._said, self.unheard = said, 0
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._said is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Take the request as whole."""
        if self._said is None or self._door is None:
            super().on_message_complete()
            return
        self.unheard = 0
        said, self._said = self._said, None
        parts, self._parts = self._parts, []
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        exchange = Exchange()
        # uvicorn asks the same few things of it as of its own, to drain and to pipeline.
        self.cycle = exchange  # type: ignore[assignment]
        self._whole = self._door, exchange, self.url.decode("ascii"), said, body

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the client is gone."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def shutdown(self) -> None:
        """Close behind what is under way; what still comes takes the way through ASGI."""
        self._door = None
        super().shutdown()

    def _is_ours(self, headers: http.Headers) -> bool:
        """Say whether this is an inference request that nothing is special about."""
        parser: Any = self.parser
        if self._door is None or _OURS.fullmatch(self.url) is None:
            return False
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return False
        if not parser.should_keep_alive() or parser.should_upgrade() or b"expect" in headers:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # its turn comes behind another's
        if self.flow.write_paused or self.root_path or self.limit_concurrency is not None:
            return False
        if b"host" not in headers or len(headers) != len(self.headers):
            return False
        return _is_small(headers, self._door.small)

    def _hand_on(self) -> None:
        """Let ASGI wait for the rest of a body, within its bounds."""
        self._said = None
        parts, self._parts = self._parts, []
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    async def _answer(
        self,
        door: front.Front,
        exchange: Exchange,
        path: str,
        headers: dict[bytes, bytes],
        body: bytes,
    ) -> None:
        response = await door.infer(path, headers, body)
        exchange.response_complete = True
        if exchange.disconnected:
            return
        if not self.transport.is_closing():
            head = connection.written(response, self.server_state.default_headers)
            close = b"" if exchange.keep_alive else b"connection: close\r\n"
            self.transport.write(b"%b%b\r\n%b" % (head, close, response.body))
            if not exchange.keep_alive:
                self.transport.close()
        self._answered()

    def _answered(self) -> None:
        """Go on behind an answer that was given here."""
        if self.pipeline or self.held or self.refusal is not None or self.transport.is_closing():
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._quiet_since = self.loop.time()
        # One timer that looks now and then costs less than one for each pause.
        if self._timer is None:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Close the connection once it was quiet for long enough."""
        self._timer = None
        if self._quiet_since is None or self.transport.is_closing():
            return
        left = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if left > 0.0:
            self._timer = self.loop.call_later(left, self._look)
        else:
            self.transport.close()


def _is_small(headers: http.Headers, most: int) -> bool:
    """Say whether a body is announced, so small that nobody counts it, and not compressed."""
    size = headers.get(b"content-length", b"")
    if not size.isdigit() or len(size) > 20 or int(size) > most:
        return False
    return b"content-encoding" not in headers and b"transfer-encoding" not in headers


class _Unheard:
    """Stands in for the event that wakes ASGI's `receive`."""

    def set(self) -> None:
        """Wake nobody."""


class Exchange:
    """What is known of a request that is answered here, where uvicorn looks for its own."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    message_event = _Unheard()
    more_body = False

    def __init__(self) -> None:
        self.keep_alive = True
        self.response_complete = False
        self.disconnected = False


def install(door: front.Front | None) -> None:
    """Let the server that this process is about to start make `Protocol` for each connection."""
    connection.install(functools.partial(Protocol, door=door))
