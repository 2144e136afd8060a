"""`coppice prune`."""

from __future__ import annotations

from coppice_cli import compose, options


def prune(folder: options.Project = options.HERE) -> None:
    """Train or load the dense parent, prune it, prove it, and register the candidate."""
    compose.settings_of(folder)
