"""`coppice demo`: the whole loop on real data, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Play here and keep all of it. Default: a fresh folder."),
    ] = None,
) -> None:
    """Play the whole loop on real digit scans: prune, serve, decay, retrain, roll back."""
    from coppice_cli.demo import app

    raise typer.Exit(app.main(folder))
