"""Find every process that a child started, however it hides: the only home of psutil.

BentoML's workers open sessions of their own, and lose their parent when it is killed, so neither
process groups nor the tree find them. What each process inherits is its environment: the supervisor
marks it, and whoever carries the mark belongs to the child.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "COPPICE_CHILD"
GRACE_SECONDS = 2.0
PAUSE_SECONDS = 0.01


def mark(home: Path, name: str = "") -> str:
    """Return the value of the mark: the project's home folder and the child's name."""
    return f"{home.resolve()}|{name}"


def end(value: str) -> int:
    """Kill every process that carries a mark, and return how many there were.

    Parameters
    ----------
    value
        From `mark`; without a name it stands for every child of that home.
    """
    found = list(_carriers(value))
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    # Ports and files are free only once they are gone. A zombie holds neither; whose it is, is not
    # asked here, because collecting it would take its exit code from its parent.
    deadline = time.monotonic() + GRACE_SECONDS
    while any(map(_alive, found)) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    return len(found)


def _carriers(value: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            carried = process.environ().get(MARK, "")
        except (psutil.Error, OSError):  # gone by now, or somebody else's
            continue
        named = carried == value or (value.endswith("|") and carried.startswith(value))
        if named and _alive(process) and process.pid != os.getpid():
            yield process


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
