"""The dashboards: what an on-call person asks, in the order in which it is asked."""

from __future__ import annotations

import json
from pathlib import Path

from monitoring.dashboards import joining, overview, quality, rollout, serving, sharing
from monitoring.dashboards.panels import Json, render

BOARDS = (overview.BOARD, rollout.BOARD, quality.BOARD, serving.BOARD, joining.BOARD, sharing.BOARD)


def files() -> dict[str, Json]:
    """Return every dashboard by the name of its file."""
    return {f"{board.uid.removeprefix('coppice-')}.json": render(board, BOARDS) for board in BOARDS}


def write(folder: Path) -> list[Path]:
    """Write every dashboard, and return where they are."""
    written = []
    for name, board in files().items():
        path = folder / name
        path.write_text(json.dumps(board, indent=2) + "\n", encoding="utf-8")
        written.append(path)
    return written
