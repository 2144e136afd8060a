"""Write the page of a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coppice import artifact, errors, files
from retrain import card
from retrain.report import page, prunings

if TYPE_CHECKING:
    from coppice import settings
    from coppice.registry import base


def write(
    tree: settings.Settings,
    registry: base.Registry,
    tag: str,
    made: card.Card,
    path: Path | None = None,
) -> Path:
    """Write the page and return where it lies, by default below the project's home.

    Raises
    ------
    EnvironmentProblem
        It cannot be written there.
    ArtifactError
        The record of the cut cannot be read.
    """
    path = path or tree.home / "reports" / f"{tag.replace(':', '-')}.html"
    text = page.render(made, tag, cut_of(registry, tag))
    try:
        files.replace(path, text.encode())
    except OSError as cause:
        message = f"the page cannot be written to {path}: {cause}"
        raise errors.EnvironmentProblem(message) from cause
    return path


def cut_of(registry: base.Registry, tag: str) -> prunings.Cut | None:
    """Return what was cut of a version; `None` for a dense parent.

    Raises
    ------
    ArtifactError
        The record cannot be read.
    """
    record = registry.path(tag) / artifact.SURGERY
    return prunings.read(record.read_bytes()) if record.exists() else None
