"""Run an example as its reader would: a copy of its folder, its commands, its client."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from coppice import project, settings
from tests.support import house, pages

Done = subprocess.CompletedProcess[str]
Status = dict[str, Any]
ROWS = 40
"""How many rows the examples' clients ask for."""


class Example(NamedTuple):
    """A copied example, and the variables that its commands run with."""

    folder: Path
    environment: dict[str, str]

    @property
    def server(self) -> str:
        """Return the address of the endpoint."""
        return f"http://127.0.0.1:{self.environment['COPPICE_SERVE__PORT']}"

    def python(self, *words: str) -> Done:
        """Run one of the example's own scripts to its end."""
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def coppice(self, *words: str) -> Done:
        """Run a command of Coppice to its end."""
        return self.python("-P", "-m", "coppice_cli", *words)

    def ask(self, rows: int) -> Done:
        """Run the example's client against the running endpoint."""
        return self.python("ask.py", self.server, str(rows))

    def status(self) -> Status:
        """Return what `coppice status` sees."""
        return dict(json.loads(self.coppice("status", "--json").stdout))

    def wait_for(self, condition: Callable[[Status], bool]) -> Status:
        """Look again and again until the status meets a condition, and return it.

        Raises
        ------
        TimeoutError
            It does not within five minutes; the message holds the last look.
        """
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            seen = self.status()
            if condition(seen):
                return seen
            # A look takes a core for a second, and what is waited for needs it too.
            time.sleep(1.0)
        message = f"not seen within five minutes; the last look: {seen}"
        raise TimeoutError(message)

    @contextlib.contextmanager
    def up(self) -> Iterator[subprocess.Popen[str]]:
        """Run `coppice up`, from when all four processes run, until the block ends."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "coppice_cli", "up"],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.wait_for(_all_run)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=180)


def _all_run(seen: Status) -> bool:
    phases = [process["phase"] for process in seen["processes"]]
    return bool(seen["rollout"]) and phases == ["running"] * 4


def labelled(rows: int) -> Callable[[Status], bool]:
    """Return the condition that the champion has so many labelled answers."""
    return lambda seen: (seen["versions"][0]["live"] or {}).get("count") == rows


def copy(name: str, parent: Path, **variables: str) -> Example:
    """Copy an example's folder; the variables stand for what a test may not wait for."""
    folder = parent / name
    shutil.copytree(
        house.ROOT / "examples" / name,
        folder,
        ignore=shutil.ignore_patterns(".coppice", "__pycache__"),
    )
    environment = {
        **os.environ,
        "COPPICE_SERVE__PORT": str(pages.free_port()),
        "COPPICE_MONITOR__PORT": str(pages.free_port()),
        # A busy machine times badly; the latency gate has tests of its own.
        "COPPICE_GATES__MIN_LATENCY_GAIN": "0.01",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "80",
        **variables,
    }
    return Example(folder, environment)


def data(example: Example) -> project.Data:
    """Return what the example's `load_data` gives, checked as every command checks it."""
    return project.load_data(project.load(settings.load(example.folder)))
