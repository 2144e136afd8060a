"""A real S3 server on loopback, and a proxy before it that makes a store fail.

The server is moto's, in an environment of its own: `make build/s3-venv/.ready`.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import subprocess
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import pytest

from coppice.registry import cache, objects, s3, signing
from tests.support import house

PYTHON = house.ROOT / "build" / "s3-venv" / "bin" / "python"
BUCKET = "models"
SERVER = Path(__file__).with_name("s3_server.py")

needs_server = pytest.mark.skipif(
    not PYTHON.exists(), reason="there is no S3 server: make build/s3-venv/.ready"
)


class Place(NamedTuple):
    """A prefix of its own in the bucket of a server."""

    endpoint: str
    prefix: str

    def options(self, **more: Any) -> objects.Options:
        """How the bucket is reached."""
        return objects.Options(BUCKET, self.endpoint, **{"timeout_seconds": 5.0, **more})

    def registry(self, folder: Path, limit_bytes: int = 1_000_000_000) -> s3.S3Registry:
        """Open a registry there, with a cache in a folder."""
        store = objects.Store(self.options(), find=who)
        return s3.S3Registry(store, self.prefix, cache.Cache(folder, limit_bytes))

    def by(self, endpoint: str) -> Place:
        """The same place, reached by another address."""
        return self._replace(endpoint=endpoint)

    def keys(self) -> list[str]:
        """What lies there, without the prefix."""
        with objects.Store(self.options(), find=who).open() as bucket:
            return [key.removeprefix(f"{self.prefix}/") for key in bucket.keys(f"{self.prefix}/")]

    def write(self, key: str, content: bytes) -> None:
        """Write an object behind the registry's back."""
        self._ask("PUT", key, content)

    def remove(self, key: str) -> None:
        """Remove an object behind the registry's back."""
        self._ask("DELETE", key)

    def _ask(self, method: str, key: str, body: bytes = b"") -> None:
        digest = hashlib.sha256(body).hexdigest()
        with objects.Store(self.options(), find=who).open() as bucket:
            bucket._ask(objects._Ask(method, f"{self.prefix}/{key}", body=body, digest=digest))


def who() -> signing.Credentials:
    """Return credentials that the server takes; it takes any."""
    return signing.Credentials("ada", "not-a-secret")


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run the server, with one empty bucket, and give its address."""
    process = subprocess.Popen(
        [str(PYTHON), str(SERVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        endpoint = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        httpx.put(f"{endpoint}/{BUCKET}").raise_for_status()
        try:
            yield endpoint
        finally:
            process.stdin.close()
            process.wait(20)


def place(endpoint: str) -> Place:
    """Return an empty place."""
    return Place(endpoint, uuid.uuid4().hex)


class Fault(NamedTuple):
    """What happens to the next requests of a kind."""

    method: str
    ending: str
    """Of the path."""
    kind: str
    """A status, `cut`, `done and cut`, `halved` or `silent`."""
    times: int = 1


class Proxy:
    """Stands before a server and carries out faults; `seen` lists method and path of requests."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def fault(self, method: str, path: str) -> str:
        """Note a request, and say what goes wrong with it."""
        with self._lock:
            self.seen.append((method, path))
            for place, fault in enumerate(self.faults):
                if fault.method == method and path.endswith(fault.ending) and fault.times:
                    self.faults[place] = fault._replace(times=fault.times - 1)
                    return fault.kind
        return ""

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: Proxy) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: C901 - a class in a function
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            kind = proxy.fault(self.command, self.path.partition("?")[0])
            self.close_connection = True
            if kind == "silent":
                time.sleep(1.5)
            if kind in {"cut", "silent"}:
                return
            if kind.isdigit():
                self._reply(int(kind), [], b"")
                return
            status, headers, content = self._forward(body)
            if kind == "done and cut":
                return
            self._reply(status, headers, content, half=kind == "halved")

        do_GET = do_PUT = do_HEAD = do_DELETE = do  # noqa: N815 - the library's names

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            with contextlib.closing(http.client.HTTPConnection(proxy.upstream)) as upstream:
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                return answer.status, answer.getheaders(), answer.read()

        def _reply(
            self,
            status: int,
            headers: list[tuple[str, str]],
            content: bytes,
            *,
            half: bool = False,
        ) -> None:
            self.send_response(status)
            passed = {"etag", "x-amz-meta-sha256", "content-type"}
            for name, value in headers:
                if name.lower() in passed:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if half else content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            del format, arguments

    return Handler
