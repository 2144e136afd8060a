"""A client that knows every answer: what each version must say to each row, and what was promised.

The versions are linear with whole numbers as weights, so that their answers are exact in float32;
rows are drawn at random, so that an answer of another version, or to another request's row, is
found out.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import random
import struct
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

ANSWER_SECONDS = 20.0
"""A request that got neither an answer nor a broken connection by then is lost."""
LEAVES = 0.02
"""Share of requests before which a client opens a new connection: so that a worker that was started
anew gets its share of them."""
MODEL_PATH = "/v2/models/tiny/infer"
HEADER_LENGTH = "inference-header-content-length"
LARGEST = 1000
"""Inputs are whole numbers below this; so are weights, and all sums below 2 ** 24 are exact."""

Rows: TypeAlias = npt.NDArray[np.float32]


class Broken(Exception):
    """The connection ended before the answer."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclasses.dataclass
class Found:
    """What the clients saw; the program's whole memory of what was promised."""

    answered: dict[str, str] = dataclasses.field(default_factory=dict)
    """The version that answered, by the id of the request."""
    labelled: dict[str, float] = dataclasses.field(default_factory=dict)
    """The label that was acknowledged, by the id of the request."""
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Answers by kind of request and status; broken connections too."""
    wrong: list[str] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    rows_of: dict[str, int] = dataclasses.field(default_factory=dict)
    """Requests that still wait for their label, with the number of their rows."""

    def blame(self, text: str) -> None:
        """Note an answer that no server may give."""
        self.wrong.append(text[:300])


class Connection:
    """One connection that is kept, and opened anew where it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
        """Send one request and read its answer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(raw(path, body, headers))
        except (OSError, EOFError) as cause:
            self.close()
            raise Broken from cause

    async def _ask(self, request: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        answer = await read(reader)
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def raw(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """Write a request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "host: coppice", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join((*lines, "", "")).encode() + body


async def read(reader: asyncio.StreamReader) -> Answer:
    """Read an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split(" ")[1]), headers, body)


class Version(NamedTuple):
    """What a version must answer: x @ weight + bias."""

    weight: tuple[int, ...]
    bias: int

    def answers(self, rows: Rows) -> Rows:
        """The exact answers [rows]."""
        return rows @ np.array(self.weight, np.float32) + np.float32(self.bias)


class Client:
    """Asks, and checks each answer against the version that it names."""

    def __init__(
        self, port: int, versions: dict[str, Version], found: Found, draw: random.Random
    ) -> None:
        self._port = port
        self._versions = versions
        self._found = found
        self._draw = draw
        self._connection = Connection(port)
        self._made = 0
        self._name = f"{draw.getrandbits(48):012x}"

    async def turn(self) -> None:
        """Send one request of some kind; never raises for what a server may do under faults."""
        kind = self._draw.random()
        if self._draw.random() < LEAVES:
            self._connection.close()
        try:
            if kind < 0.12 and self._found.rows_of:
                await self._label()
            elif kind < 0.14 and self._found.labelled:
                await self._label_again()
            else:
                await self._infer(binary=kind < 0.57, said=kind > 0.85)
        except Broken:
            self._found.outcomes["connection broken"] += 1
        except TimeoutError:
            self._connection.close()
            self._found.outcomes["no answer"] += 1

    async def _infer(self, *, binary: bool, said: bool) -> None:
        self._made += 1
        name = f"{self._name}-{self._made}"
        count = self._draw.randint(1, 4)
        rows = np.array(
            [[self._draw.randrange(LARGEST) for _ in range(4)] for _ in range(count)], np.float32
        )
        headers = {}
        if said:
            headers = {
                "x-coppice-key": f"key-{self._draw.randrange(50)}",
                "x-coppice-slices": f"site={self._draw.choice('abc')}",
            }
        body, more = (as_binary if binary else as_json)(name, rows)
        began = asyncio.get_running_loop().time()
        answer = await self._connection.ask(MODEL_PATH, body, headers | more)
        self._found.seconds.append(asyncio.get_running_loop().time() - began)
        self._found.outcomes[f"{'binary' if binary else 'json'} {answer.status}"] += 1
        if answer.status == 200:
            self._check(name, rows, answer)
        else:
            self._check_refusal(answer)

    def _check(self, name: str, rows: Rows, answer: Answer) -> None:
        found = self._found
        head, scores = parse(answer)
        tag = answer.headers["x-coppice-version"]
        found.answered[name] = tag
        if len(found.rows_of) < 5000:
            found.rows_of[name] = len(rows)
        if head["id"] != name or answer.headers["x-request-id"] != name:
            found.blame(f"{name} was answered as {head['id']}")
        if f"{head['model_name']}:{head['model_version']}" != tag:
            found.blame(f"{name}: {tag} in the header, {head['model_version']} in the body")
        if tag not in self._versions:
            found.blame(f"{name} was answered by {tag}, which must not answer")
        elif not np.array_equal(scores, self._versions[tag].answers(rows)):
            found.blame(f"{name}: {tag} answers {self._versions[tag].answers(rows)}, got {scores}")

    def _check_refusal(self, answer: Answer) -> None:
        if answer.status not in {429, 503} or "retry-after" not in answer.headers:
            self._found.blame(f"a sound request got {answer.status}: {answer.body[:200]!r}")

    async def _label(self) -> None:
        """Label a request; one in ten times twice at once, with two labels."""
        found = self._found
        name, rows = found.rows_of.popitem()
        first = float(self._draw.randrange(LARGEST))
        asked = [self._send_label(self._connection, name, rows, first)]
        if self._draw.random() < 0.1:
            asked.append(self._send_label(Connection(self._port), name, rows, first + 0.5))
        replies = await asyncio.gather(*asked, return_exceptions=True)
        taken = [first + 0.5 * place for place, reply in enumerate(replies) if reply == 200]
        if len(taken) > 1:
            found.blame(f"{name} took two labels")
        if taken:
            found.labelled[name] = taken[0]
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
            if reply not in {200, 409, 429, 503}:
                found.blame(f"the label of {name}, which was answered, got {reply}")

    async def _label_again(self) -> None:
        name = next(reversed(self._found.labelled))
        if await self._send_label(self._connection, name, 1, -1.0) == 200:
            self._found.blame(f"{name} took a second label")

    async def _send_label(self, connection: Connection, name: str, rows: int, label: float) -> int:
        message = {"request_id": name, "labels": [label] * rows}
        answer = await connection.ask("/feedback", json.dumps(message).encode())
        self._found.outcomes[f"feedback {answer.status}"] += 1
        if connection is not self._connection:
            connection.close()
        return answer.status


def as_json(name: str, rows: Rows) -> tuple[bytes, dict[str, str]]:
    """An inference request in JSON, and its headers."""
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.tolist()}
    return json.dumps({"id": name, "inputs": [tensor]}).encode(), {}


def as_binary(name: str, rows: Rows) -> tuple[bytes, dict[str, str]]:
    """An inference request with binary tensors both ways, and its headers."""
    data = rows.tobytes()
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "parameters": parameters}
    wanted = {"name": "scores", "parameters": {"binary_data": True}}
    head = json.dumps({"id": name, "inputs": [tensor], "outputs": [wanted]}).encode()
    return head + data, {HEADER_LENGTH: str(len(head))}


def parse(answer: Answer) -> tuple[dict[str, Any], Rows]:
    """Read the JSON part of an answer, and the scores."""
    length = answer.headers.get(HEADER_LENGTH)
    if length is None:
        head: dict[str, Any] = json.loads(answer.body)
        return head, np.array(head["outputs"][0]["data"], np.float32)
    head = json.loads(answer.body[: int(length)])
    data = answer.body[int(length) :]
    return head, np.array(struct.unpack(f"<{len(data) // 4}f", data), np.float32)
