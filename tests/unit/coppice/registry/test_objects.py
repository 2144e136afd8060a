"""Requests to a bucket, against a scripted store: pages of a list, big files, busy objects."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
import tracemalloc
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import errors
from coppice.registry import objects, signing

BIG = 16_000_000
TOKEN = "1/a+b=="
PAGE = """<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Contents><Key>{key}</Key></Contents><CommonPrefixes><Prefix>{key}/</Prefix></CommonPrefixes>
{more}</ListBucketResult>"""
PAGES = {
    "": PAGE.format(key="p/a", more=f"<NextContinuationToken>{TOKEN}</NextContinuationToken>"),
    TOKEN: PAGE.format(key="p/b&amp;c", more=""),
}
"""What the list answers to each continuation token."""


@dataclasses.dataclass
class Script:
    """What the store answers, and what it was asked."""

    statuses: list[int] = dataclasses.field(default_factory=list)
    """To the next writes; 200 where none is left."""
    lengths: list[str | None] = dataclasses.field(default_factory=list)
    """`content-length` of every write."""
    digests: list[str] = dataclasses.field(default_factory=list)
    """SHA-256 of every body that was written."""
    address: str = ""


def _handler(script: Script) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            digest, left = hashlib.sha256(), int(self.headers.get("content-length") or 0)
            while left:
                part = self.rfile.read(min(left, 1 << 16))
                digest.update(part)
                left -= len(part)
            script.lengths.append(self.headers.get("content-length"))
            script.digests.append(digest.hexdigest())
            self._reply(script.statuses.pop(0) if script.statuses else 200, b"")

        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            asked = urllib.parse.parse_qs(url.query, strict_parsing=bool(url.query))
            if "list-type" in asked:
                self._reply(200, PAGES[asked.get("continuation-token", [""])[0]].encode())
                return
            self.send_response(200)
            self.send_header("content-length", str(BIG))
            self.end_headers()
            for _ in range(BIG // 64_000):
                self.wfile.write(bytes(64_000))

        def _reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            del format, arguments

    return Handler


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.setattr(objects, "FIRST_PAUSE_SECONDS", 0.001)
    made = Script()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(made)) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        made.address = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()


@pytest.fixture
def bucket(script: Script) -> Iterator[objects.Connection]:
    options = objects.Options("models", script.address)
    store = objects.Store(options, find=lambda: signing.Credentials("ada", "not-a-secret"))
    with store.open() as connection:
        yield connection


def test_a_list_is_read_to_its_last_page(bucket: objects.Connection) -> None:
    # A store gives 1,000 keys at a time, and a token that has to come back to the letter.
    assert bucket.keys("p/") == ["p/a", "p/b&c"]
    assert bucket.folders("p/") == ["a", "b&c"]


def test_a_big_file_passes_in_parts(
    bucket: objects.Connection, script: Script, tmp_path: Path
) -> None:
    path = tmp_path / "big"
    with path.open("wb") as stream:
        stream.truncate(BIG)
    digest = hashlib.sha256(bytes(BIG)).hexdigest()
    tracemalloc.start()
    bucket.upload("big", path, digest)
    bucket.download("big", tmp_path / "copy")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # S3 takes no body whose length it is not told.
    assert (script.lengths, script.digests) == ([str(BIG)], [digest])
    assert (tmp_path / "copy").stat().st_size == BIG
    # A part has a megabyte, and a few of them are about at a time.
    assert peak < BIG / 2


def test_an_object_that_another_writes_at_this_moment_is_sent_again(
    bucket: objects.Connection, script: Script, tmp_path: Path
) -> None:
    script.statuses = [409, 409]
    path = tmp_path / "file"
    path.write_bytes(b"abc")

    bucket.upload("file", path, hashlib.sha256(b"abc").hexdigest())

    assert script.lengths == ["3", "3", "3"]


def test_an_object_that_stays_busy_is_given_up(
    bucket: objects.Connection, script: Script, tmp_path: Path
) -> None:
    script.statuses = [409] * objects.ATTEMPTS
    path = tmp_path / "file"
    path.write_bytes(b"abc")

    with pytest.raises(errors.RegistryProblem, match=r"5 attempts \(HTTP 409\)"):
        bucket.upload("file", path, hashlib.sha256(b"abc").hexdigest())


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize("over", [None, objects.Found(b"old", '"etag"')])
def test_a_state_that_another_changed_is_told_at_once(
    bucket: objects.Connection, script: Script, over: objects.Found | None, status: int
) -> None:
    script.statuses = [status]

    with pytest.raises(objects.Taken):
        bucket.put("aliases.json", b"new", over=over)

    assert len(script.lengths) == 1


@pytest.mark.parametrize("over", [None, objects.Found(b"old", '"etag"')])
def test_a_state_that_is_gone_is_another_state(
    bucket: objects.Connection, script: Script, over: objects.Found | None
) -> None:
    # S3 answers 404 to If-Match for an object that somebody removed since it was read.
    script.statuses = [404]

    with pytest.raises(objects.Taken):
        bucket.put("aliases.json", b"new", over=over)


def test_a_file_that_was_not_taken_is_no_success(
    bucket: objects.Connection, script: Script, tmp_path: Path
) -> None:
    script.statuses = [404]
    path = tmp_path / "file"
    path.write_bytes(b"abc")

    with pytest.raises(errors.RegistryProblem, match=r"does not take .*check store\.endpoint"):
        bucket.upload("file", path, hashlib.sha256(b"abc").hexdigest())


def test_a_store_without_conditional_writes_is_told_apart_from_a_wrong_password(
    bucket: objects.Connection, script: Script
) -> None:
    script.statuses = [501]

    with pytest.raises(errors.RegistryProblem, match="no conditional writes"):
        bucket.put("aliases.json", b"new", over=None)
