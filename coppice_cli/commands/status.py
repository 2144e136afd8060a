"""`coppice status`."""

from __future__ import annotations

from coppice_cli import compose, options


def status(folder: options.Project = options.HERE) -> None:
    """Show versions, lanes, evidence, drift and accuracy at a glance."""
    compose.settings_of(folder)
