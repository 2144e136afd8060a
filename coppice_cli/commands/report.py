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
    from coppice import errors
    from coppice_cli import versions
    from retrain.report import page

    tree = compose.settings_of(folder)
    tag, made = versions.card_of(compose.registry_of(tree), tree.project.name, version)
    path = out or tree.home / "reports" / f"{tag.replace(':', '-')}.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.render(made, tag), encoding="utf-8")
    except OSError as cause:
        message = f"the page cannot be written to {path}: {cause}"
        raise errors.EnvironmentProblem(message) from cause
    console.out().print(f"wrote {path}", soft_wrap=True, markup=False)
