"""A data plane for tests: a project with real artifacts, in this process or behind HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from prometheus_client import registry as collectors

from coppice import records, registry, routing, settings
from coppice.eventlog import base
from coppice.eventlog.sqlite import SqliteLog
from service import compose, front, recorder, serve
from tests.support import artifacts, pages

MODEL = "tiny"
SECONDS = 120.0
"""Longest wait for anything that happens in the background; a busy machine takes its time."""
free_port = pages.free_port


@dataclasses.dataclass(frozen=True)
class Project:
    """A project folder with three versions in its registry, the first of them champion."""

    tree: settings.Settings
    champion: str
    candidate: str
    parent: str

    @property
    def log(self) -> SqliteLog:
        """A connection of one's own to the project's log."""
        return SqliteLog(self.tree.log_path)

    def add(self, pack: Callable[..., str], **options: Any) -> str:
        """Pack another artifact into the registry and return its tag."""
        folder = self.tree.root / f"artifact-{time.monotonic_ns()}"
        pack(folder, name=MODEL, **options)
        return registry.open_registry(self.tree).add(folder)

    def route(self, **fields: Any) -> routing.RoutingTable:
        """Write the next routing table."""
        now = routing.load(self.tree.routing_path)
        generation = now.generation + 1 if now else 1
        whole = {"model": MODEL, "champion": self.champion, "generation": generation, **fields}
        table = routing.RoutingTable(**whole)
        routing.save(self.tree.routing_path, table)
        return table

    def path(self, tag: str) -> Path:
        """The folder of a version."""
        return registry.open_registry(self.tree).path(tag)


def project(root: Path, **sections: dict[str, Any]) -> Project:
    """Set up a project: `serve={"port": 1234}` sets fields of a section."""
    write_settings(root, {"project": {"name": MODEL, "task": "binary"}, **sections})
    tree = settings.load(root)
    store = registry.open_registry(tree)
    tags = []
    # Answers differ in nothing but the strength of "yes", so each tag is another.
    for place, bias in enumerate((0.0, 0.125, 0.25)):
        folder = root / f"artifact-{place}"
        artifacts.linear_classifier(folder, name=MODEL, bias=np.array([0.0, bias]))
        tags.append(store.add(folder))
    made = Project(tree, *tags)
    made.route()
    return made


def write_settings(root: Path, tables: dict[str, dict[str, Any]]) -> None:
    """Write a project's coppice.toml."""
    root.mkdir(parents=True, exist_ok=True)
    (root / settings.FILE).write_text(_toml(tables))


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in fields.items())
        for name, fields in tables.items()
    )


@contextlib.asynccontextmanager
async def plane(made: Project) -> AsyncIterator[compose.Plane]:
    """Open a data plane in this process and wait until it is ready."""
    loop = asyncio.get_running_loop()
    opened = compose.Plane(
        made.tree, loop=loop, metrics=recorder.Recorder(collectors.CollectorRegistry())
    )
    try:
        await until(lambda: opened.ready)
        yield opened
    finally:
        opened.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in the background."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - threads set no asyncio.Event
            await asyncio.sleep(0.005)


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back over HTTP or ASGI."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


async def ask(
    opened: compose.Plane,
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Reply:
    """Send one request through the front door, without a network."""
    door = front.Front(nothing, lambda: opened)
    return await through(door, path, body, method=method, headers=headers)


async def through(
    door: Any,
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Reply:
    """Send one request through an ASGI application, without a network."""
    pairs = [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()]
    place, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": place,
        "query_string": query.encode(),
        "headers": pairs,
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await door(scope, receive, send)
    found = {k.decode(): v.decode("latin-1") for k, v in sent[0]["headers"]}
    return Reply(sent[0]["status"], found, b"".join(m["body"] for m in sent[1:]))


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Stand in for BentoML's application: nothing is there."""
    del scope, receive
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"inner"})


INFER = f"/v2/models/{MODEL}/infer"


def infer_body(rows: list[list[float]] | None = None, **fields: Any) -> bytes:
    """An inference request in JSON; by default one row that means "yes"."""
    data = [[1.0, 1.0, 1.0, 1.0]] if rows is None else rows
    shape = [len(data), len(data[0])]
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor], **fields}).encode()


def stored(log: base.EventLog, kind: type[records.Record]) -> list[Any]:
    """All records of one kind in a log, in order."""
    found: list[records.Record] = []
    position = base.START
    while (batch := log.read(position)).events:
        position = batch.position
        found += [records.unseal(e) for e in batch.events if e.type == records.NAMES[kind]]
    return found


@dataclasses.dataclass(frozen=True)
class Server:
    """A running server: the process that was started, and where it listens."""

    process: subprocess.Popen[bytes]
    url: str
    output: Path

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        *,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send one request; refusals are replies too."""
        sent = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, body, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return _reply(response)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return _reply(refusal)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens in the background."""
        wait_until(condition, self.output.read_text)

    def family(self) -> list[psutil.Process]:
        """The supervisor and its workers, which are in process groups of their own."""
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def kill(self) -> None:
        """Kill every process of the server at once, as a power switch would."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in self.family():
                process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask the server to drain and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


def _reply(response: Any) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, headers, response.read())


def wait_until(condition: Callable[[], bool], explain: Callable[[], str] = str) -> None:
    """Wait for a condition, and fail with an explanation where it never comes."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


@contextlib.contextmanager
def server(made: Project) -> Iterator[Server]:
    """Start the real server for a project and wait until it is ready; killed at the end."""
    output = made.tree.root / f"server-{time.monotonic_ns()}.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            serve.command(made.tree),
            env=serve.environment(made.tree),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    running = Server(process, f"http://127.0.0.1:{made.tree.serve.port}", output)
    try:
        running.wait_until(lambda: is_ready(running))
        yield running
    finally:
        running.kill()


def metric(running: Server, name: str, **labels: str) -> float:
    """The sum of a metric over the series that have these labels."""
    lines = running.ask("/metrics").body.decode().splitlines()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    values = [
        line.rsplit(" ", 1)[1]
        for line in lines
        if line.split("{")[0].split(" ")[0] == name and all(pair in line for pair in wanted)
    ]
    return sum(map(float, values))


def is_ready(running: Server) -> bool:
    """Whether the server answers requests."""
    try:
        return running.ask("/v2/health/ready").status == 200
    except OSError:
        return False
