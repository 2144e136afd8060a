"""`coppice pull` and `coppice push`: versions from one place to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coppice_cli import compose, console, options


def pull(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VERSION...",
            help="Tags, aliases, or ids' starts; by default what the server is told to begin "
            "with, else every alias in use.",
        ),
    ] = None,
    folder: options.Project = options.HERE,
    as_json: options.Json = False,
) -> None:
    """Bring versions onto this machine and check them, byte by byte.

    With `store.registry = "s3"` they are fetched into the cache, unless they
    are there; elsewhere they are checked where they lie. What is pulled serves
    without the store. The exit code is 3 where there is no such version or it
    was altered, 8 where the store cannot be used.
    """
    from coppice_cli import moving

    tree = compose.settings_of(folder)
    registry = compose.registry_of(tree)
    for pulled in moving.pull(registry, tree.project.name, wanted or moving.routed(tree)):
        if as_json:
            console.write_json({"tag": pulled.tag, "path": str(pulled.path), "bytes": pulled.size})
        else:
            text = f"{pulled.tag}  {pulled.size:,} bytes  {pulled.path}"
            console.out().print(text, markup=False, soft_wrap=True)


def push(
    wanted: Annotated[
        list[str],
        typer.Argument(metavar="VERSION...", help="Tags, aliases, or ids' starts."),
    ],
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="Folder of the other project.")
    ],
    folder: options.Project = options.HERE,
) -> None:
    """Copy versions of this project's registry into another project's.

    Their dense parents go along, because later diagnoses ask them. Aliases stay
    as they are on both sides; what is there already is not sent again.
    """
    from coppice_cli import moving

    tree, other = compose.settings_of(folder), compose.settings_of(into)
    source, target = compose.registry_of(tree), compose.registry_of(other)
    for tag in moving.push(source, target, tree.project.name, wanted):
        console.out().print(tag, markup=False, soft_wrap=True)
