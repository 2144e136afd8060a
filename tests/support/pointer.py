"""Move one alias back and forth in a process of its own.

Usage: python pointer.py HOME ALIAS COUNT TAG... [--folder]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from coppice.registry import base
from coppice.registry.bento import BentoRegistry
from coppice.registry.folder import FolderRegistry


def main(home: str, alias: str, count: int, tags: list[str]) -> None:
    registry: base.Registry = BentoRegistry(Path(home))
    if tags[-1] == "--folder":
        registry = FolderRegistry(Path(home))
        tags = tags[:-1]
    name = tags[0].partition(":")[0]
    for index in range(count):
        registry.point(name, {cast("base.Alias", alias): tags[index % len(tags)]})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
