"""What was measured, on disk: one file for each finding, there as a whole or not at all.

Called by the search and by the sweep. Several processes may read and write one store. A finding
lies under the digest of its key, with the key beside it for the reader and a digest of both, so
that a file that was damaged is the same as none: its finding is made again. Arrays that belong to a
finding are written before it; a process that is killed leaves whole findings and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np
import safetensors.numpy

from coppice import errors, files
from coppice.labels import Floats

Key: TypeAlias = Mapping[str, Any]
"""All that a finding follows from, as values that JSON can hold."""
ARRAYS = ".safetensors"
"""How the file of a finding's arrays, or of a model's weights, ends."""
Finding = TypeVar("Finding", bound=msgspec.Struct)


class _Entry(msgspec.Struct, frozen=True):
    key: dict[str, Any]
    finding: msgspec.Raw
    digest: str


class Store:
    """Findings by key, in a folder that is made when the first one is kept.

    Examples
    --------
    >>> class Weight(msgspec.Struct):
    ...     grams: float
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     kept = Store(Path(name))
    ...     kept.put({"what": "apple"}, Weight(150.0))
    ...     kept.get({"what": "apple"}, Weight), kept.get({"what": "pear"}, Weight)
    (Weight(grams=150.0), None)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: Key, suffix: str = ".json") -> Path:
        """Return where a finding lies; with another suffix, where files that go with it do."""
        name = hashlib.sha256(_canonical(key)).hexdigest()[:32]
        return self.folder / name[:2] / f"{name}{suffix}"

    def get(self, key: Key, kind: type[Finding]) -> Finding | None:
        """Return a finding, or `None` where there is none that can be trusted."""
        try:
            entry = msgspec.json.decode(self.path(key).read_bytes(), type=_Entry)
            if entry.digest != _digest(key, bytes(entry.finding)):
                return None
            return msgspec.json.decode(entry.finding, type=kind)
        except (OSError, msgspec.MsgspecError):
            return None

    def arrays(self, key: Key) -> dict[str, Floats]:
        """Return the arrays of a finding that is there, as float64."""
        found = safetensors.numpy.load_file(self.path(key, ARRAYS))
        return {name: array.astype(np.float64) for name, array in found.items()}

    def put(
        self, key: Key, finding: msgspec.Struct, arrays: Mapping[str, Floats] | None = None
    ) -> None:
        """Keep a finding durably, in the place of an older one under the same key.

        Parameters
        ----------
        arrays
            What goes with it by name; kept as float32.

        Raises
        ------
        EnvironmentProblem
            The disk is full, or the folder cannot be written.
        """
        told = msgspec.json.encode(finding)
        entry = _Entry(dict(key), msgspec.Raw(told), _digest(key, told))
        try:
            if arrays:
                content = {name: array.astype(np.float32) for name, array in arrays.items()}
                files.replace(self.path(key, ARRAYS), safetensors.numpy.save(content))
            files.replace(self.path(key), msgspec.json.encode(entry))
        except OSError as cause:
            message = f"what was measured cannot be kept in {self.folder}: {cause}"
            raise errors.EnvironmentProblem(message) from cause

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other process is in such a block; a process that dies leaves it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "turn.lock").open("wb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _canonical(key: Key) -> bytes:
    return msgspec.json.encode(key, order="sorted")


def _digest(key: Key, finding: bytes) -> str:
    return hashlib.sha256(_canonical(key) + b"\n" + finding).hexdigest()
