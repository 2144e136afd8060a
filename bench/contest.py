"""The contestants of the serving benchmark: how each is started, asked, halted and weighed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import serving_models
import wrk

from service import serve
from tests.support import serving

HERE = Path(__file__).resolve().parent
SERVERS = HERE / "servers"
OTHERS = HERE.parent / "build" / "bench-venv" / "bin"
MLSERVER = HERE.parent / "build" / "bench-mlserver-venv" / "bin"
START_SECONDS = 60.0
FINISH_SECONDS = 5.0
"""Longest wait for a server to answer what it was asked."""
IDLE_SECONDS = 0.1
"""A server that is busy for less than half of so long is idle."""

BINARY = "Coppice, binary"
JSON = "Coppice, JSON"
BARE = "bare ASGI bound"
PLAIN = "BentoML typed API"
BATCHABLE = "BentoML typed API, batchable"
LITSERVE = "LitServe"
CANARY = {"weight": serving_models.CANARY_WEIGHT}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way of asking one server; contestants with the same `server` share a process.

    `asks` names the body among `Subject.bodies`, `path` where it goes.
    """

    name: str
    server: str
    asks: str
    path: str
    everywhere: bool = True
    """Whether it is asked at all models and numbers of connections, or only at the main ones."""

    def ask(self, bodies: dict[str, bytes]) -> wrk.Ask:
        """Return the request."""
        headers = {"Content-Type": "application/json"}
        if self.asks in {"raw", "binary"}:
            headers = {"Content-Type": "application/octet-stream"}
        if self.asks == "binary":
            length = len(bodies["binary"]) - len(bodies["raw"])
            headers["Inference-Header-Content-Length"] = str(length)
        return wrk.Ask(self.path, bodies[self.asks], headers)


_OURS = serving_models.INFER
MIRRORED, UNMIRRORED = "coppice-mirror", "coppice-lone"
CONTESTANTS = (
    Contestant(BINARY, "coppice", "binary", _OURS),
    Contestant(JSON, "coppice", "json", _OURS),
    Contestant(BARE, "bare", "raw", "/"),
    Contestant("Coppice, binary, no candidate", UNMIRRORED, "binary", _OURS, everywhere=False),
    Contestant("Coppice, binary, no log", "coppice-log", "binary", _OURS, everywhere=False),
    Contestant("Coppice, binary, no metrics", "coppice-metrics", "binary", _OURS, everywhere=False),
    Contestant("FastAPI + ONNX Runtime, raw", "fastapi", "raw", "/raw"),
    Contestant("FastAPI + ONNX Runtime, JSON", "fastapi", "plain", "/json"),
    Contestant(PLAIN, "bentoml", "nested", "/plain"),
    Contestant(BATCHABLE, "bentoml", "nested", "/batchable"),
    Contestant(LITSERVE, "litserve", "plain", "/predict"),
    Contestant("MLServer", "mlserver", "json", _OURS),
)


@dataclasses.dataclass(frozen=True)
class Command:
    """How a server is started."""

    argv: list[str]
    env: dict[str, str]


def command(server: str, subject: serving_models.Subject, port: int) -> Command:
    """Return how a server of ours or of others is started for a model."""
    if server.startswith("coppice"):
        return _ours(server.removeprefix("coppice").removeprefix("-"), subject, port)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True"}
    graph = str(subject.graph)
    match server:
        case "bare":
            return Command([sys.executable, str(SERVERS / "bare.py"), graph, str(port)], env)
        case "fastapi":
            script = str(SERVERS / "fastapi_doors.py")
            return Command([str(OTHERS / "python"), script, graph, str(port)], env)
        case "litserve":
            script = str(SERVERS / "litserve_api.py")
            return Command([str(OTHERS / "python"), script, graph, str(port)], env)
        case "bentoml":
            argv = [str(OTHERS / "python"), "-m", "bentoml", "serve", "bentoml_typed:Typed"]
            argv += ["--working-dir", str(SERVERS), "--port", str(port)]
            return Command(argv, {**env, "BENCH_MODEL": graph})
        case _:
            folder = _mlserver(subject, port)
            return Command([str(MLSERVER / "mlserver"), "start", str(folder)], env)


def _ours(variant: str, subject: serving_models.Subject, port: int) -> Command:
    lanes: dict[str, Any] = {"candidate": subject.candidate, **CANARY}
    if variant == "lone":
        lanes = {}
    elif variant == "mirror":
        lanes |= {"mirror": 1.0}
    tree = subject.at(port, lanes)
    argv, env = serve.command(tree), serve.environment(tree)
    if variant in {"log", "metrics"}:
        argv[argv.index(serve.SERVICE)] = "coppice_without:Coppice"
        argv[argv.index("--working-dir") + 1] = str(SERVERS)
        env |= {"BENCH_WITHOUT": variant, "PYTHONPATH": str(HERE.parent)}
    return Command(argv, env)


def _mlserver(subject: serving_models.Subject, port: int) -> Path:
    folder = subject.tree.root / f"mlserver-{port}"
    folder.mkdir()
    (folder / "mlserver_runtime.py").symlink_to(SERVERS / "mlserver_runtime.py")
    (folder / "session.py").symlink_to(SERVERS / "session.py")
    whole = {
        "http_port": port,
        "grpc_port": serving.free_port(),
        "metrics_port": serving.free_port(),
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": serving_models.NAME,
        "implementation": "mlserver_runtime.Onnx",
        "parameters": {"uri": str(subject.graph)},
    }
    (folder / "settings.json").write_text(json.dumps(whole))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return folder


class Running:
    """A server that runs, or is halted so that it takes nothing from the one that is asked."""

    def __init__(self, server: str, subject: serving_models.Subject, core: int) -> None:
        self.name = server
        self.start_seconds = 0.0
        self.port = serving.free_port()
        self._output = subject.tree.root / f"{server}.log"
        how = command(server, subject, self.port)
        with self._output.open("wb") as stream:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(core), *how.argv],
                env=how.env,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, ask: wrk.Ask) -> None:
        """Wait for the first answer, and note how many seconds it took."""
        began = time.monotonic()
        while not self._answers(ask):
            if time.monotonic() - began > START_SECONDS or self._process.poll() is not None:
                message = f"{self.name} did not start: {self._output.read_text()[-2000:]}"
                raise RuntimeError(message)
            time.sleep(0.02)
        self.start_seconds = time.monotonic() - began

    def _answers(self, ask: wrk.Ask) -> bool:
        url = f"http://127.0.0.1:{self.port}{ask.path}"
        request = urllib.request.Request(url, ask.body, ask.headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _family(self) -> list[psutil.Process]:
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def memory(self) -> float:
        """Return the resident memory of all its processes, MB."""
        return float(sum(process.memory_info().rss for process in self._family()) / 1e6)

    def processor(self) -> float:
        """Return the processor time that all its processes took so far, seconds."""
        times = [process.cpu_times() for process in self._family()]
        return float(sum(time.user + time.system for time in times))

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for a while."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._finish()
            self.halt()

    def _finish(self) -> None:
        """Wait until it is idle: what a client left behind must cost the next round nothing."""
        until = time.monotonic() + FINISH_SECONDS
        busy = True
        while busy and time.monotonic() < until:
            before = self.processor()
            time.sleep(IDLE_SECONDS)
            busy = self.processor() - before > IDLE_SECONDS / 2

    def halt(self) -> None:
        """Take it off the processor."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End all its processes."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextlib.contextmanager
def running(
    servers: dict[str, wrk.Ask], subject: serving_models.Subject, core: int
) -> Iterator[dict[str, Running]]:
    """Start servers one after the other, each alone, and halt them; killed at the end."""
    started: dict[str, Running] = {}
    try:
        for name, ask in servers.items():
            started[name] = Running(name, subject, core)
            started[name].wait_for(ask)
            started[name].halt()
        yield started
    finally:
        for server in started.values():
            server.kill()
