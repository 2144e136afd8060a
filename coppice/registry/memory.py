"""A registry for tests and examples: artifacts in a folder that the caller owns, aliases in memory.

Artifacts stay files, because whoever loads one needs a path.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from coppice.registry import base, shelf


class MemoryRegistry:
    """Keep artifacts below a folder and aliases in this object; safe between threads.

    Parameters
    ----------
    folder
        Where copies go; usually a temporary folder.
    """

    def __init__(self, folder: Path) -> None:
        self._models = folder / "models"
        self._staging = folder / "staging"
        self._aliases: dict[str, dict[base.Alias, str]] = {}
        self._lock = threading.Lock()

    def add(self, folder: Path) -> str:
        """Copy a verified artifact and return its tag; see `base.Registry.add`."""
        with self._lock:
            return shelf.add(self._models, self._staging, folder)

    def path(self, tag: str) -> Path:
        """Return the folder of a version; see `base.Registry.path`."""
        return shelf.find(self._models, tag, self.aliases(tag.partition(":")[0]))

    def tags(self, name: str) -> list[str]:
        """Return the tags of all versions of a name, newest first."""
        return shelf.tags(self._models, name)

    def aliases(self, name: str) -> Mapping[base.Alias, str]:
        """Return the tag that each alias in use points at."""
        with self._lock:
            return dict(self._aliases.get(name, {}))

    def point(self, name: str, aliases: Mapping[base.Alias, str | None]) -> None:
        """Move several aliases in one step; see `base.Registry.point`."""
        full = shelf.full_tags(name, aliases, self.aliases(name), shelf.Folders(self._models))
        with self._lock:
            self._aliases[name] = shelf.moved(self._aliases.get(name, {}), full)
