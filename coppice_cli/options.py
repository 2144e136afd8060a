"""The options that many commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Project: TypeAlias = Annotated[
    Path,
    typer.Option("--project", "-C", metavar="DIR", help="Folder that holds coppice.toml."),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of tables, for other programs.")
]
Reason: TypeAlias = Annotated[
    str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; it is kept with the event.")
]
Version: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="A tag, an alias such as champion, or an id's start."),
]
HERE = Path()
"""Default of `Project`: where the command is started."""
