"""`coppice report`: a version's card as a page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coppice_cli import compose, console, options


def report(
    version: options.Version,
    folder: options.Project = options.HERE,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Where to write it; else under .coppice/reports."
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page about a version.

    The verdict in one sentence first, then what got worse and for whom, then
    tables and pictures, and where it may serve as evidence for auditors.
    """
    from coppice_cli import reporting, versions

    tree = compose.settings_of(folder)
    registry = compose.registry_of(tree)
    tag, made = versions.card_of(registry, tree.project.name, version)
    path = reporting.write(tree, registry, tag, made, out)
    console.out().print(f"wrote {path}", soft_wrap=True, markup=False)
