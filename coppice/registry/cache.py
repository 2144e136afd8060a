"""Versions of a far registry on this machine: checked whenever they are used, bounded in size."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from coppice import artifact, errors
from coppice.registry import shelf

SPARED_SECONDS = 3600.0
"""What was used so recently is never evicted: somebody may be reading it."""
LEFT_SECONDS = 86_400.0
"""A download that is older was left by a process that died."""


class Cache:
    """Keep whole versions below a folder; safe between threads and between processes.

    Parameters
    ----------
    folder
        Made where it is missing.
    limit_bytes
        Most that is kept, but for what was used within `SPARED_SECONDS`.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._models = folder / "models"
        self._staging = folder / "staging"
        self._limit = limit_bytes
        self._verifier = shelf.Verifier()

    def kept(self, tag: str) -> Path | None:
        """Return the folder of a version that is here and whole."""
        path = self._models / tag.replace(":", "/")
        try:
            self._verifier.check(path, tag)
            os.utime(path)
        except (errors.ArtifactError, OSError):
            return None
        return path

    def fill(self, tag: str, fetch: Callable[[Path], None]) -> Path:
        """Return the folder of a version, fetched unless it is here and whole.

        Parameters
        ----------
        tag
            The full tag, which names the content.
        fetch
            Writes the version's files into the folder that it is given.

        Raises
        ------
        ArtifactCorrupt
            What was fetched is not what the tag names.
        """
        with self._alone(tag):
            found = self.kept(tag)
            if found is not None:
                return found
            target = self._models / tag.replace(":", "/")
            with tempfile.TemporaryDirectory(dir=self._staging) as scratch:
                copy = Path(scratch) / "new"
                copy.mkdir()
                fetch(copy)
                artifact.verify(copy, tag)
                shelf.take_place(copy, target, aside=Path(scratch) / "old", tag=tag)
            self._evict(target)
            return target

    @contextlib.contextmanager
    def _alone(self, tag: str) -> Iterator[None]:
        """Let one process at a time fetch a version, so that it is fetched once."""
        self._staging.mkdir(parents=True, exist_ok=True)
        with (self._staging / f"{tag.replace(':', '-')}.lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _evict(self, newest: Path) -> None:
        now = time.time()
        for left in self._staging.glob("tmp*"):
            if now - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        found = sorted(self._models.glob("*/*"), key=lambda path: path.stat().st_mtime)
        sizes = {path: _size(path) for path in found}
        excess = sum(sizes.values()) - self._limit
        for path in found:
            if excess <= 0 or path == newest or now - path.stat().st_mtime < SPARED_SECONDS:
                continue
            with tempfile.TemporaryDirectory(dir=self._staging) as scratch:
                # Out of sight in one step: a version is whole, or it is not there.
                path.rename(Path(scratch) / "old")
            excess -= sizes[path]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
