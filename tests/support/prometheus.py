"""Debian's Prometheus and Alertmanager on free loopback ports, and a webhook to hear them."""

from __future__ import annotations

import contextlib
import http.server
import json
import queue
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import serving

PROGRAMS = ("prometheus", "prometheus-alertmanager")

needs_prometheus = pytest.mark.skipif(
    any(shutil.which(program) is None for program in PROGRAMS),
    reason="prometheus and prometheus-alertmanager (Debian) are not installed",
)


class Webhook:
    """Who is woken: keeps every alert that it is sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()

    def wait_for(self, alert: str, seconds: float) -> dict[str, Any]:
        """Return the first notification of an alert that fires."""
        deadline = time.monotonic() + seconds
        others = []
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                found = self.heard.get(timeout=0.5)
                if found["labels"]["alertname"] == alert and found["status"] == "firing":
                    return found
                others.append(found["labels"]["alertname"])
        message = f"{alert} never came; others that did: {others}"
        raise AssertionError(message)


@contextlib.contextmanager
def webhook() -> Iterator[Webhook]:
    """Listen for notifications while the block runs."""
    ear = Webhook(f"http://127.0.0.1:{serving.free_port()}/")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            for alert in json.loads(body)["alerts"]:
                ear.heard.put(alert)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    port = urllib.parse.urlsplit(ear.url).port
    assert port is not None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield ear
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Prometheus:
    """A running Prometheus that can be asked."""

    def __init__(self, port: int, output: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.output = output

    def ask(self, path: str, **parameters: str) -> Any:
        """GET something of its API; an error fails the test with what it says."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=10) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """Return what an expression finds now."""
        found: list[Any] = self.ask("/api/v1/query", query=expression)["result"]
        return found

    def wait_until_up(self, jobs: int) -> None:
        """Wait until so many targets were scraped."""
        serving.wait_until(lambda: self._up() == jobs, self.output.read_text)

    def _up(self) -> int:
        try:
            return len(self.query("up == 1"))
        except OSError:
            return 0


@contextlib.contextmanager
def running(folder: Path, port: int, alertmanager_port: int) -> Iterator[Prometheus]:
    """Run both programs on the configuration in a folder, and end them with the block."""
    output = folder / "output.log"
    commands = (
        [
            "prometheus-alertmanager",
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alertmanager-data",
            f"--web.listen-address=127.0.0.1:{alertmanager_port}",
            "--cluster.listen-address=",
        ],
        [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
    )
    with output.open("ab") as stream, contextlib.ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        yield Prometheus(port, output)
