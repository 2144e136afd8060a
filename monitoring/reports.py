"""Drift reports: what a sustained alarm saw, as one HTML file each, kept for a while.

Evidently draws them, which costs seconds, so each is written by a thread of its own, one at a time,
while the monitor goes on. A file appears whole or not at all. The folder is the monitor's own; who
asks for a report by name gets a file of this folder or nothing.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TypeAlias

import structlog

from coppice import clock as clocks
from coppice import settings
from monitoring import drift

Picture: TypeAlias = tuple[drift.Drift, drift.Floats]
"""A detector, and the window that it is about."""

DAY = 86_400.0
NAME = re.compile(r"drift-[A-Za-z0-9_.-]{1,200}\.html")

_log = structlog.get_logger(__name__)


class Reports:
    """The reports of one project.

    Parameters
    ----------
    folder
        Where they lie; it is made when the first is written.
    chosen
        How many are kept, and for how long.
    clock
        Where the time comes from.
    """

    def __init__(self, folder: Path, chosen: settings.MonitorSettings, clock: clocks.Clock) -> None:
        self._folder = folder
        self._chosen = chosen
        self._clock = clock
        self._thread: threading.Thread | None = None

    def write(self, version: str, picture: Picture) -> str | None:
        """Begin to write a report and return its name.

        Returns
        -------
        str or None
            `None` where none are kept, or the last one is still being written.
        """
        busy = self._thread is not None and self._thread.is_alive()
        if busy or not self._chosen.reports_kept:
            return None
        moment = clocks.rfc3339(self._clock.now()).replace(":", "").replace(".", "")
        name = f"drift-{version.replace(':', '-')}-{moment}.html"
        # Not waited for at exit: a report half written leaves no trace but a hidden file.
        self._thread = threading.Thread(
            target=self._draw, args=(name, picture), name="drift-report", daemon=True
        )
        self._thread.start()
        return name

    def wait(self, seconds: float) -> None:
        """Wait for the report that is being written, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def names(self) -> tuple[str, ...]:
        """Return the names of the reports, the newest first."""
        return tuple(path.name for path in self._files())

    def path(self, name: str) -> Path | None:
        """Return where a report lies; `None` where there is none of that name."""
        if NAME.fullmatch(name) is None:
            return None
        found = self._folder / name
        return found if found.is_file() and not found.is_symlink() else None

    def _draw(self, name: str, picture: Picture) -> None:
        hidden = self._folder / f".{name}.tmp"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            drift.snapshot(*picture, hidden)
            hidden.replace(self._folder / name)
            self._prune()
        except Exception as cause:  # noqa: BLE001 - the thread's outermost turn; monitoring goes on
            hidden.unlink(missing_ok=True)
            _log.exception("report_failed", report=name, error=str(cause))
        else:
            _log.info("report_written", report=name)

    def _prune(self) -> None:
        """Delete what is too much or too old; a report's age is told by the monitor's clock."""
        oldest = self._clock.now() - self._chosen.report_days * DAY
        for place, path in enumerate(self._files()):
            if place >= self._chosen.reports_kept or path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        found = [path for path in self._folder.glob("drift-*.html") if self.path(path.name)]
        # By time, then by name, which ends in the time too.
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
