"""The same bytes, cut into the same or other segments, are answered alike by every way."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from tests.support import serving, sockets

INFER = f"POST {serving.INFER} HTTP/1.1"
LINES = (
    *(INFER,) * 6,
    "GET /v2/health/ready HTTP/1.1",
    "HEAD /v2 HTTP/1.1",
    "OPTIONS /v2/models/tiny HTTP/1.1",
    f"PUT {serving.INFER} HTTP/1.1",
    f"POST {serving.INFER}?a=b HTTP/1.1",
    f"POST http://here{serving.INFER} HTTP/1.1",
    "POST /v2/models/%74iny/infer HTTP/1.1",
    "POST /v2/models/ti%2Fny/infer HTTP/1.1",
    'POST /v2/models/"<>\\^`{|}/infer HTTP/1.1',
    "POST /v2/models//infer HTTP/1.1",
    "POST /v2/models/tiny/versions/none/infer HTTP/1.1",
    "POST * HTTP/1.1",
)
HEADERS = (
    "content-type: application/json",
    "Content-Type: text/plain",
    "Host: there",
    "Connection: keep-alive, Upgrade",
    "upgrade: h2c",
    "expect: 100-continue",
    "Transfer-Encoding : chunked",
    "transfer-encoding: gzip",
    "content-length: +2",
    "content-length: 0",
    "content-encoding: gzip",
    "accept-encoding: gzip",
    "inference-header-content-length: 7",
    "x-request-id: other",
    "x-coppice-key: \xe9",
    "x-coppice-lane: canary",
    "x-coppice-slices: a=b",
    "x-coppice-timeout: 30",
    "a: b\r\n c",
    "a: b\nc: d",
    "a: \0",
    "a b: c",
)
BODIES = (
    *(serving.infer_body(id="r1"),) * 4,
    b"",
    b"{",
    serving.infer_body(id="r2", outputs=[{"name": "label"}]),
)

Request = tuple[str, list[str], bytes, str]
heads = st.lists(st.sampled_from(HEADERS), max_size=3)
framings = st.sampled_from(["sized", "sized", "chunked", "untold"])
requests = st.tuples(st.sampled_from(LINES), heads, st.sampled_from(BODIES), framings)
lasts = st.tuples(
    st.sampled_from([INFER, f"POST {serving.INFER} HTTP/1.0", f"POST {serving.INFER} HTTP/2.0"]),
    st.just(["connection: close"]),
    st.just(serving.infer_body(id="r1")),
    st.sampled_from(["sized", "chunked"]),
)
sequences = st.builds(
    lambda some, last: [*some, *last],
    st.lists(requests, min_size=1, max_size=3),
    st.lists(lasts, max_size=1),
)
"""What comes behind a request that closes its connection may be lost with it: so it is the last."""


def wire_of(sequence: list[Request]) -> bytes:
    """Write requests one behind the other; the last of each says how its end is found.

    Chunks are right: how much of an answer precedes the refusal of a wrong one is a matter of time.
    """
    return b"".join(_one(*request) for request in sequence)


def _one(line: str, headers: list[str], body: bytes, framing: str) -> bytes:
    chunks = (
        b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    ) + b"0\r\nx-request-id: a\r\n\r\n"
    told, sent = {
        "sized": (f"content-length: {len(body)}", body),
        "chunked": ("transfer-encoding: chunked", chunks),
        "untold": ("a: b", body),
    }[framing]
    return "\r\n".join([line, "host: here", told, *headers, "", ""]).encode("latin-1") + sent


async def said(place: sockets.Place, sent: bytes, cuts: list[int]) -> bytes:
    """Send bytes in segments, close one's side, and return everything that comes back.

    Who learns early that nothing more comes says in its last answer that it closes: that is left
    out.
    """
    reader, writer = await place.connect()
    begin = 0
    # What a segment asked may be under way when the next comes, or answered.
    for end in (*sorted(cut % (len(sent) + 1) for cut in cuts), len(sent)):
        writer.write(sent[begin:end])
        await asyncio.sleep(0.002)
        begin = end
    writer.write_eof()
    answers = await reader.read()
    writer.close()
    without = re.sub(rb"connection: close\r\n", b"", answers)
    return re.sub(rb'"id":"[0-9a-f-]{36}"|x-request-id: [0-9a-f-]{36}', b"", without)


def test_answers_depend_neither_on_the_way_nor_on_the_segments(tmp_path: Path) -> None:
    made = serving.project(tmp_path)

    @hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @hypothesis.given(sequences, st.lists(st.integers(0, 2000), max_size=3))
    def agree(sequence: list[Request], cuts: list[int]) -> None:
        sent = wire_of(sequence)
        whole = runner.run(said(short, sent, []))
        cut = runner.run(said(short, sent, cuts))
        assert whole == cut == runner.run(said(long, sent, cuts))

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        door = sockets.door_of(runner.run(stack.enter_async_context(serving.plane(made))))
        short = runner.run(stack.enter_async_context(sockets.listening(door)))
        long = runner.run(stack.enter_async_context(sockets.listening(door, "asgi")))
        try:
            agree()
        finally:
            runner.run(stack.aclose())
