"""Small programs to supervise, and ways to wait for them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from coppice_cli.supervise.children import Child, Ready, at_once

LIMIT_SECONDS = 120.0


def python(name: str, code: str, ready: Ready = at_once, drain_seconds: float = 10.0) -> Child:
    """A child that runs a piece of Python."""
    argv = (sys.executable, "-S", "-c", code)
    return Child(name=name, argv=argv, ready=ready, drain_seconds=drain_seconds)


def sleeper(name: str = "sleeper") -> Child:
    """A child that does nothing, for long."""
    return Child(name=name, argv=("sleep", "600"))


def until(condition: Callable[[], bool], limit_seconds: float = LIMIT_SECONDS) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs, and is not just waiting to be collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_in(path: Path) -> int:
    """The process id that a program wrote into a file, once it has."""
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def own_children() -> list[int]:
    """Processes that this one started and that still run."""
    found = psutil.Process(os.getpid()).children(recursive=True)
    return [process.pid for process in found if alive(process.pid)]
