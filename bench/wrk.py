"""Load from wrk, which is quick enough to saturate a server from one core of its own."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

SCRIPT = """
wrk.method = "POST"
wrk.path = "{path}"
{headers}
local body = io.open("{body}", "rb")
wrk.body = body:read("*a")
body:close()
{delay}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'FOUND {{"requests": %d, "micros": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""
DELAY = "function delay() return math.random(0, {most}) end"


@dataclasses.dataclass(frozen=True)
class Ask:
    """What is asked, and how: `pause_ms` is the longest of the pauses between two requests."""

    path: str
    body: bytes
    headers: dict[str, str]
    pause_ms: int = 0


@dataclasses.dataclass(frozen=True)
class Found:
    """What one run of wrk saw: latencies in milliseconds, `failed` are answers that are no 2xx."""

    rate: float
    """Requests per second that were answered with 2xx."""
    p50: float
    p99: float
    failed: int
    answered: int


class Client:
    """Runs wrk on one core.

    Parameters
    ----------
    core
        Which one.
    folder
        Where scripts and bodies are put.
    """

    def __init__(self, core: int, folder: Path) -> None:
        self._core = core
        self._folder = folder
        self._scripts: dict[tuple[str, bytes, int], Path] = {}

    def run(self, ask: Ask, port: int, connections: int, seconds: int) -> Found:
        """Ask for so long over so many connections."""
        command = ["taskset", "-c", str(self._core), "wrk", "--threads", "1", "--latency"]
        command += ["--connections", str(connections), "--duration", f"{seconds}s"]
        command += ["--timeout", "10s", "--script", str(self._script(ask))]
        command.append(f"http://127.0.0.1:{port}")
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
        seen = json.loads(lines[0].removeprefix("FOUND "))
        good = seen["requests"] - seen["refused"]
        return Found(
            rate=good / (seen["micros"] / 1e6),
            p50=seen["p50"] / 1000,
            p99=seen["p99"] / 1000,
            failed=seen["refused"] + seen["broken"],
            answered=good,
        )

    def _script(self, ask: Ask) -> Path:
        key = (ask.path, ask.body, ask.pause_ms)
        if key not in self._scripts:
            place = self._folder / f"ask-{len(self._scripts)}"
            body, script = place.with_suffix(".body"), place.with_suffix(".lua")
            body.write_bytes(ask.body)
            headers = [f'wrk.headers["{name}"] = "{text}"' for name, text in ask.headers.items()]
            delay = DELAY.format(most=ask.pause_ms) if ask.pause_ms else ""
            script.write_text(
                SCRIPT.format(path=ask.path, headers="\n".join(headers), body=body, delay=delay)
            )
            self._scripts[key] = script
        return self._scripts[key]
