"""A small HTTP server that answers with given JSON and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

MOST_WORKERS = 16
"""Processes that may test at the same time, each with ports of its own."""


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any


class Pages(NamedTuple):
    """A running server."""

    port: int
    asked: list[Asked]


def free_port() -> int:
    """Return a port on loopback that nobody listens on, and that nobody else is given.

    A port that the system chooses may be given away again before somebody listens on it. These lie
    below those that it chooses from, and each process that tests beside others has its own.
    """
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    message = "every port was given out"
    raise RuntimeError(message)


def _own_ports() -> Iterator[int]:
    """In an order of chance: other programs of this machine may draw from them too."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(10_000 + worker % MOST_WORKERS, 32_000, MOST_WORKERS))
    random.Random().shuffle(ports)
    return iter(ports)


_PORTS = _own_ports()


@contextlib.contextmanager
def serving(answers: Mapping[str, tuple[int, Any]]) -> Iterator[Pages]:
    """Serve status and JSON by path while the block runs; other paths are 404."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET", None)

        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            self._answer("POST", json.loads(self.rfile.read(size)))

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, method: str, body: Any) -> None:
            target = urlsplit(self.path)
            asked.append(Asked(method, target.path, parse_qs(target.query), body))
            status, content = answers.get(target.path, (404, {"error": "no such page"}))
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield Pages(server.server_address[1], asked)
        finally:
            server.shutdown()
            thread.join()
