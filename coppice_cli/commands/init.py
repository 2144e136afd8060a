"""`coppice init`: scaffold a project."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from coppice_cli import console


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write into.")],
    task: Annotated[
        Literal["binary", "multiclass", "regression"],
        typer.Option(help="What the model predicts."),
    ] = "multiclass",
) -> None:
    """Scaffold a project: coppice.toml and a project.py that runs as it is."""
    from coppice_cli import scaffold

    written = scaffold.write(directory, task)
    screen = console.out()
    for path in written:
        screen.print(f"wrote {path}", soft_wrap=True)
    screen.print(
        f"\nNext: look at {directory / 'project.py'}, put your own model and data in, then\n",
        soft_wrap=True,
    )
    where = "" if directory.resolve() == Path.cwd() else f" -C {shlex.quote(str(directory))}"
    for command in ("doctor", "prune", "up"):
        screen.print(f"    coppice {command}{where}", soft_wrap=True)
