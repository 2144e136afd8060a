"""The stage on which the phases play: a project folder, the running loop, its traffic, its log."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from coppice import clock, errors, eventlog, project, settings
from coppice_cli.demo import follow, screen, traffic

SOURCE = Path(__file__).parent / "digits"
START_SECONDS = 240.0
STOP_SECONDS = 40.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """What every phase needs."""

    folder: Path
    settings: settings.Settings
    environment: Mapping[str, str]
    follower: follow.Follower
    traffic: traffic.Traffic
    screen: screen.Screen
    clock: clock.Clock

    def prune(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `coppice prune` as a user would and return what it printed."""
        return self.command("prune", *options)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours on the demo's project."""
        argv = [sys.executable, "-m", "coppice_cli", words[0], "--project", str(self.folder)]
        self.screen.say(f"$ coppice {shlex.join(words)}")
        done = subprocess.run(
            [*argv, *words[1:]],
            capture_output=True,
            text=True,
            env=dict(self.environment),
            check=False,
        )
        self.follower.catch_up()
        return done

    def pause(self, seconds: float) -> None:
        """Let the world go on, and show what the log says meanwhile."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.follower.catch_up()
            self.clock.sleep(follow.POLL_SECONDS)


def free_ports() -> dict[str, str]:
    """Choose two free ports on loopback, as settings in the environment."""
    with socket.socket() as server, socket.socket() as monitor:
        server.bind(("127.0.0.1", 0))
        monitor.bind(("127.0.0.1", 0))
        return {
            "COPPICE_SERVE__PORT": str(server.getsockname()[1]),
            "COPPICE_MONITOR__PORT": str(monitor.getsockname()[1]),
        }


def build(folder: Path, show: screen.Screen) -> Stage:
    """Copy example 01 into a folder and prepare everything short of starting the loop."""
    shutil.copytree(
        SOURCE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    ports = free_ports()
    os.environ.update(ports)
    tree = settings.load(folder)
    log = eventlog.open_log(tree)
    project.load(tree)
    scans = _traffic_scans(tree)
    endpoints = traffic.Endpoints(
        server=f"http://127.0.0.1:{tree.serve.port}",
        monitor=f"http://127.0.0.1:{tree.monitor.port}",
        model=tree.project.name,
        input_name=next(iter(scans.inputs)),
    )
    pixels = np.asarray(next(iter(scans.inputs.values())), dtype=np.float32)
    digits = np.asarray(scans.targets, dtype=np.int64)
    return Stage(
        folder=folder,
        settings=tree,
        environment={**os.environ, **ports},
        follower=follow.Follower(log, clock.SystemClock(), show.fact),
        traffic=traffic.Traffic(endpoints, pixels, digits, traffic.Pace()),
        screen=show,
        clock=clock.SystemClock(),
    )


def _traffic_scans(tree: settings.Settings) -> project.Split:
    module: Any = importlib.import_module(tree.project.module)
    split: project.Split = module.splits()["traffic"]
    return split


@contextlib.contextmanager
def running(stage: Stage) -> Iterator[subprocess.Popen[bytes]]:
    """Run `coppice up` on the stage's project, and stop it with SIGTERM at the end."""
    argv = [sys.executable, "-m", "coppice_cli", "up", "--project", str(stage.folder)]
    stage.screen.say("$ coppice up")
    output = (stage.folder / "up.log").open("wb")
    process = subprocess.Popen(
        argv, stdout=output, stderr=subprocess.STDOUT, env=dict(stage.environment)
    )
    try:
        _await_ready(stage, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        output.close()


def _await_ready(stage: Stage, process: subprocess.Popen[bytes]) -> None:
    urls = [
        f"http://127.0.0.1:{stage.settings.serve.port}/v2/health/ready",
        f"http://127.0.0.1:{stage.settings.monitor.port}/health",
    ]
    deadline = stage.clock.monotonic() + START_SECONDS
    while urls:
        if process.poll() is not None or stage.clock.monotonic() > deadline:
            tail = (stage.folder / "up.log").read_text(errors="replace")[-3000:]
            message = f"`coppice up` did not get ready; its last lines:\n{tail}"
            raise errors.EnvironmentProblem(message)
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(urls[0], timeout=2.0).status_code == httpx.codes.OK:
                urls.pop(0)
                continue
        stage.clock.sleep(follow.POLL_SECONDS)
