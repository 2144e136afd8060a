"""Find every process that a child started, however it hides: the only home of psutil.

BentoML's workers open sessions of their own, and lose their parent when it is killed, so neither
process groups nor the tree find them. What each process inherits is its environment: the supervisor
marks it, and whoever carries the mark belongs to the child.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "COPPICE_CHILD"
GRACE_SECONDS = 2.0


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
    # Ports and files are free only once they are gone.
    psutil.wait_procs(found, timeout=GRACE_SECONDS)
    return len(found)


def _carriers(value: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            carried = process.environ().get(MARK, "")
            alive = process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):  # gone by now, or somebody else's
            continue
        named = carried == value or (value.endswith("|") and carried.startswith(value))
        if named and alive and process.pid != os.getpid():
            yield process
