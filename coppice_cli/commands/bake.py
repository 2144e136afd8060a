"""`coppice bake`: a project of one version, for an image or a bento."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coppice_cli import compose, console, options


def bake(
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write.")],
    folder: options.Project = options.HERE,
    version: Annotated[
        str, typer.Option(metavar="VERSION", help="A tag, an alias, or an id's start.")
    ] = "champion",
) -> None:
    """Write a project that serves one version, to be baked into an image.

    It holds the settings, the version and a routing table, and nothing else.
    """
    from coppice_cli import baking

    tag = baking.bake(compose.settings_of(folder), target, version)
    console.out().print(f"{tag} baked into {target}", markup=False, soft_wrap=True)
