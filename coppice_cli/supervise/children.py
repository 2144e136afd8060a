"""A child: one program under supervision, its log, and its end."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import httpx

from coppice_cli.supervise import family, tether

Ready: TypeAlias = Callable[[], bool]
"""Says whether a program does its work by now."""

MAX_LOG_BYTES = 8 * 2**20
TAIL_LINES = 15


def at_once() -> bool:
    """Say that a program is ready as soon as it runs."""
    return True


def http_ready(url: str) -> Ready:
    """Return a check that an address answers with a success, within a second."""

    def ready() -> bool:
        try:
            # Never through a proxy: the address is this machine's.
            return httpx.get(url, timeout=1.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    return ready


@dataclasses.dataclass(frozen=True, kw_only=True)
class Child:
    """A program that shall always run.

    Attributes
    ----------
    name
        What it is called in messages, in the status and in the name of its log file.
    argv
        Program and arguments.
    environment
        Variables added to the supervisor's own.
    ready
        Says whether it does its work by now; the next child starts after that.
    ready_seconds
        A program that is not ready so long after its start counts as crashed.
    drain_seconds
        Time to end by itself after SIGTERM, before it is killed.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ready: Ready = at_once
    ready_seconds: float = 60.0
    drain_seconds: float = 15.0


class Process:
    """The running program of a child.

    Parameters
    ----------
    child
        What to run.
    home
        The project's home folder; the log is `logs/<name>.log` in it.
    """

    def __init__(self, child: Child, home: Path) -> None:
        self.log = home / "logs" / f"{child.name}.log"
        self._child = child
        self._mark = family.mark(home, child.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id; `None` where nothing runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the program in a session of its own, tied to this process's life."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        wrapper = (sys.executable, "-I", "-S", tether.__file__, str(os.getpid()))
        environment = {**os.environ, **self._child.environment, family.MARK: self._mark}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                (*wrapper, *self._child.argv),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """Return the exit code; `None` while it runs."""
        return None if self._process is None else self._process.poll()

    def ask_to_end(self) -> None:
        """Send SIGTERM to the program alone: it knows best how to end what it started."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def clear_away(self) -> None:
        """Kill the program and all that it started."""
        if self._process is not None:
            # By the handle first: before it has become the program it may not show its mark.
            self._process.kill()
            self._process.wait()
            self._process = None
        family.end(self._mark)

    def trim_log(self) -> None:
        """Move the log aside once it is too large; the program goes on at the new beginning."""
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            # Copied and cut, not renamed, because the program keeps the file open.
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def tail(self) -> str:
        """Return the last lines of the log."""
        if not self.log.exists():
            return ""
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            return "".join(deque(lines, maxlen=TAIL_LINES)).rstrip()
