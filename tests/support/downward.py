"""A downward API volume as the kubelet writes it: new files in a new folder, then one link moves.

References
----------
Kubernetes, Downward API, and the kubelet's atomic writer: the user's files are links through
`..data`, a link to a folder with the time in its name, which is replaced by renaming another link.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import msgspec

from coppice import routing

FILE = "routing.json"


class Volume:
    """A volume with one file, the pod's routing annotation."""

    def __init__(self, folder: Path, content: str = "") -> None:
        self.path = folder / FILE
        self._folder = folder
        self._stamps = itertools.count(1)
        folder.mkdir(parents=True)
        self.write(content)
        self.path.symlink_to(Path("..data") / FILE)

    def write(self, content: str) -> None:
        """Swap the content, as an annotation that was changed reaches a pod."""
        link = self._folder / "..data"
        before = link.resolve() if link.exists() else None
        fresh = self._folder / f"..2026_11_21_12_00_00.{next(self._stamps)}"
        fresh.mkdir()
        (fresh / FILE).write_text(content)
        moving = self._folder / "..data_tmp"
        moving.symlink_to(fresh.name)
        moving.replace(link)
        if before is not None:
            shutil.rmtree(before)

    def route(self, table: routing.RoutingTable) -> None:
        """Swap in a table."""
        self.write(msgspec.json.encode(table).decode())
