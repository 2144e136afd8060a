"""Which server workers are alive, so that what a dead one left behind is not taken for a fact.

Each worker holds a lock, which the kernel lets go of however the worker ends; a process id alone
would not do, for ids are given out again. Prometheus's multiprocess mode keeps the values of each
process in files. Counters and histograms of the dead must stay, or the sums would fall; gauges are
about the present, so those of the dead are removed before a scrape reads them.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from prometheus_client import multiprocess

from service import http

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder of the values; set by BentoML for its workers."""

_PREFIX, _SUFFIX = "worker-", ".lock"


class Presence:
    """Says to the other workers that this one is alive.

    Parameters
    ----------
    folder
        Where the workers of one server leave their signs.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     here = Presence(Path(folder))
    ...     while_alive = sweep(Path(folder))
    ...     here.close()
    ...     afterwards = sweep(Path(folder))
    >>> while_alive, afterwards == [os.getpid()]
    ([], True)
    """

    def __init__(self, folder: Path) -> None:
        # Under another name until it is locked: a sweep must not find it unlocked.
        unseen = folder / f"starting-{os.getpid()}"
        self._file: IO[bytes] = unseen.open("wb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        unseen.rename(folder / f"{_PREFIX}{os.getpid()}{_SUFFIX}")

    def close(self) -> None:
        """Let go of the lock, as death would."""
        self._file.close()


def sweep(folder: Path) -> list[int]:
    """Remove the gauges of dead workers; return their process ids."""
    return [pid for path in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}")) if (pid := _dead(path))]


def _dead(path: Path) -> int | None:
    """Remove what a worker left behind, unless it lives; return its process id."""
    try:
        with path.open("rb") as sign:
            fcntl.flock(sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid = int(path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX))
            multiprocess.mark_process_dead(pid, str(path.parent))  # type: ignore[no-untyped-call]
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        # It lives; or another worker sweeps at the same moment.
        return None
    return pid


class Swept:
    """An ASGI application that shows no gauges of dead workers.

    Parameters
    ----------
    inner
        BentoML's application, which answers `/metrics`.
    folder
        Where the workers leave their signs.
    """

    def __init__(self, inner: http.App, folder: Path) -> None:
        self._inner = inner
        self._folder = folder

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Hand a request on; sweep before a scrape."""
        if scope["type"] == "http" and scope["path"] == "/metrics":
            sweep(self._folder)
        await self._inner(scope, receive, send)
