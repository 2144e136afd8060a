"""A client's connection: uvicorn's protocol class, with bounds and manners that it lacks.

uvicorn parses with httptools and runs the application; here is what a hostile or a thrifty client
needs besides: heads of bounded size, requests that were sent ahead of their answers kept as bytes
until their turn, wishes to upgrade passed over instead of their bodies, trailers kept out of the
headers, a refusal only behind the answers that are due before it, and clients that close their side
while they wait. `service.wire` adds the short cut of inference requests.

References
----------
RFC 9112, HTTP/1.1: 3.2 (host), 7.1.2 (trailers), 9.3.2 (pipelining), 9.6 (tear-down).
RFC 9110: 7.8 (upgrade may be ignored), 10.1.1 (expect).
RFC 6585: 5 (431).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn import config as uvicorn_config
from uvicorn import server
from uvicorn.protocols.http import flow_control, httptools_impl

from coppice import errors
from service import http

MAX_HEAD = 65_536
"""Bytes of a head, trailer or chunk header, as far as they came in more than one read."""
MAX_DISCARDED = 2**20
"""Bytes that are read and thrown away behind a refusal."""
GRACE_SECONDS = 0.5
"""How long a connection without requests is kept when the server ends."""
STRIDE = 16_384
"""So many bytes are parsed at a time, and none behind a request whose turn has not come."""


class HeadTooLarge(errors.RequestError):
    """The request's head or trailer is larger than 64 KiB. Send fewer or shorter headers."""

    http_status = 431


class Malformed(errors.RequestError):
    """This is no HTTP/1.1 request. Send it as RFC 9112 has it."""


class _Flow(flow_control.FlowControl):
    """Reads on only where what came before has had its turn."""

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        if not self._connection.backlogged:
            super().resume_reading()


class _Deaf(list[tuple[bytes, bytes]]):
    """Takes the place of the headers once they are complete: trailers are not headers."""

    def append(self, _: object, /) -> None:
        """Forget it."""


_DEAF = _Deaf()


class Connection(httptools_impl.HttpToolsProtocol):
    """One connection.

    Parameters
    ----------
    config, server_state, app_state, _loop
        As uvicorn gives them.
    """

    def __init__(
        self,
        config: uvicorn_config.Config,
        server_state: server.ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.held = b""
        """What came behind requests that wait for their turn, not parsed yet."""
        self.refusal: errors.CoppiceError | None = None
        """What is said behind the answers that are due, before the connection is closed."""
        self.unheard = 0
        """Bytes that came since a head, a part of a body or a request was complete."""
        self._over = False
        """Whether nothing more is taken."""
        self._ending = False
        """Whether the server ends, so that the next answer is the last."""

    @property
    def backlogged(self) -> bool:
        """Whether more is here than may be parsed now."""
        return bool(self.pipeline or self.held)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._over:
            self.unheard += len(data)
            if self.unheard > MAX_DISCARDED:
                self.transport.close()
            return
        self._unset_keepalive_if_required()
        if self.held or len(data) > STRIDE:
            self.held += data
        else:
            self._parse(data)
        if self.held:
            self._parse_in_strides()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer first what was asked by a client that has closed its side; then close ours."""
        last: Any = self.cycle
        if self.scheme == "https" or last is None:
            return False
        if self.refusal is not None:
            return True  # its turn comes, and then the end
        if last.response_complete or last.more_body:
            return False
        last.keep_alive = False
        return True

    def shutdown(self) -> None:
        """Close behind what is under way; where nothing is, behind a request that may be under way.

        A client that keeps a connection may have sent the next request just now. Closed at once,
        it would not know whether that was taken in.
        """
        if self._ending or not (self.cycle is None or self.cycle.response_complete):
            super().shutdown()
        else:
            self._ending = True
            self.loop.call_later(GRACE_SECONDS, self.shutdown)

    def on_message_begin(self) -> None:
        """Begin with a head; a scope is made only for who wants one."""
        self.url, self.headers = b"", []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begin with a request, unless it has to be read again without its wish to upgrade."""
        self.unheard = 0
        version = self.parser.get_http_version()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            message = f"the request has {hosts} Host headers; send one"
            raise Malformed(message)
        if self.parser.get_method() == b"CONNECT":
            message = "there is no CONNECT here: this is no proxy"
            raise Malformed(message)
        if self.parser.should_upgrade():
            return
        url, headers = self.url, self.headers
        super().on_message_begin()  # makes the scope
        self.url, self.headers, self.scope["headers"] = url, headers, headers
        waits = (b"expect", b"100-continue")
        self.expect_100_continue = version != "1.0" and any(
            (name, value.lower()) == waits for name, value in headers
        )
        super().on_headers_complete()
        self.headers = _DEAF
        if self._ending:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self.unheard = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the request as whole."""
        self.unheard = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on behind an answer."""
        last = not self.pipeline
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if last and self.refusal is not None:
            self._end(self.refusal)
        elif self.held:
            # In a turn of its own, else each request would be answered within the one before.
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self.pipeline and not self.transport.is_closing():
            self.data_received(b"")
            self.flow.resume_reading()

    def _parse_in_strides(self) -> None:
        while self.held and not self.pipeline:
            stride, self.held = self.held[:STRIDE], self.held[STRIDE:]
            self._parse(stride)
        if self.held:
            self.flow.pause_reading()

    def _parse(self, data: bytes) -> None:
        self.unheard += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as cause:
            known = cause.__context__
            self._refuse(known if isinstance(known, errors.CoppiceError) else Malformed())
        except httptools.HttpParserUpgrade as wish:
            self.held = b"".join((*self._without_wish(), data[wish.args[0] :], self.held))
        else:
            if self.unheard > MAX_HEAD:
                self._refuse(HeadTooLarge())

    def _without_wish(self) -> list[bytes]:
        """Return the head that was just read without its wish to upgrade, for a new parser.

        The old one would take the body for another protocol's.
        """
        version = self.parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                kept = [token for token in tokens if token.lower() != b"upgrade"]
                head.append(b"connection: %b\r\n" % b", ".join(kept))
            elif name != b"upgrade":
                head.append(b"%b: %b\r\n" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return [*head, b"\r\n"]

    def _refuse(self, cause: errors.CoppiceError) -> None:
        """Take nothing more, and say why once everything before it is answered."""
        self.logger.warning("Invalid HTTP request received.")
        self._over, self.refusal, self.held = True, cause, b""
        self.flow.pause_reading()
        newest: Any = self.cycle
        if newest is None or newest.response_complete:
            self._end(cause)
        elif newest.more_body and self.pipeline:
            self.pipeline.popleft()
        elif newest.more_body:
            newest.disconnected = True
            newest.message_event.set()
            if newest.response_started:
                self.transport.close()
            else:
                self._end(cause)

    def _end(self, cause: errors.CoppiceError) -> None:
        """Say why nothing more is taken, and close; what still comes is thrown away."""
        self.refusal = None
        refused = http.as_error(cause)
        head = written(refused, self.server_state.default_headers)
        self.transport.write(b"%bconnection: close\r\n\r\n%b" % (head, refused.body))
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        # Closed at once, a client that is still sending would lose the refusal.
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(http.DISCARD_SECONDS, self.transport.close)


def written(response: http.Response, defaults: list[tuple[bytes, bytes]]) -> bytes:
    """Write status line and headers, as uvicorn does."""
    lines = [httptools_impl.STATUS_LINE[response.status]]
    lines += [b"%b: %b\r\n" % pair for pair in defaults]
    lines += [b"%b: %b\r\n" % pair for pair in response.headers]
    lines.append(b"content-length: %d\r\n" % len(response.body))
    return b"".join(lines)


def install(made: Callable[..., Connection]) -> None:
    """Let the server that this process is about to start make such an object for each connection.

    BentoML starts uvicorn with its options for everything but this one.
    """
    kinds: dict[Any, Any] = uvicorn_config.HTTP_PROTOCOLS
    kinds["auto"] = made
