"""`coppice up`."""

from __future__ import annotations

from coppice_cli import compose, options


def up(folder: options.Project = options.HERE) -> None:
    """Run the whole loop, supervised: server, monitor, retrainer and controller."""
    from coppice_cli import supervise

    supervise.main(compose.settings_of(folder))
