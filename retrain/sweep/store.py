"""Where finished parts of a sweep lie: one JSON each, under the digest of all that it follows from.

A part is written in one atomic step, after the arrays that belong to it; a process that is killed
leaves whole parts and nothing else, and the next one finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import safetensors.numpy

from coppice import errors, files
from coppice.labels import Floats
from retrain.sweep import record

_Part = TypeVar("_Part")


def key(*follows_from: Any) -> str:
    """Return the digest of values that are written the same each time.

    >>> key("a", 1) == key("a", 1), key("a", 1) == key("a", 2)
    (True, False)
    """
    return hashlib.sha256(msgspec.json.encode(follows_from)).hexdigest()[:24]


class Store:
    """The parts in one folder.

    Parameters
    ----------
    folder
        Made at the first part.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, kind: type[_Part]) -> _Part | None:
        """Return a part, or `None` where there is none that this version reads."""
        try:
            return msgspec.json.decode((self._folder / f"{name}.json").read_bytes(), type=kind)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def arrays(self, name: str) -> dict[str, Floats]:
        """Return the arrays of a part, as float64."""
        found = safetensors.numpy.load_file(self._folder / f"{name}.safetensors")
        return {each: array.astype(np.float64) for each, array in found.items()}

    def put(self, name: str, part: Any, arrays: Mapping[str, Floats] | None = None) -> None:
        """Keep a part.

        Raises
        ------
        EnvironmentProblem
            The disk is full, or the folder cannot be written.
        """
        try:
            if arrays:
                content = {each: array.astype(np.float32) for each, array in arrays.items()}
                files.replace(self._folder / f"{name}.safetensors", safetensors.numpy.save(content))
            files.replace(self._folder / f"{name}.json", record.to_json(part))
        except OSError as cause:
            message = f"the sweep cannot be kept in {self._folder}: {cause}"
            raise errors.EnvironmentProblem(message) from cause
