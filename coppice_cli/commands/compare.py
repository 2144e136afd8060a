"""`coppice compare`: two versions side by side."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from coppice_cli import comparison


def compare(
    first: options.Version,
    second: options.Version,
    folder: options.Project = options.HERE,
    every: Annotated[
        bool, typer.Option("--all", help="Every figure of every section, too.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Put the figures of two versions side by side, from their cards."""
    from coppice_cli import comparison, versions

    tree = compose.settings_of(folder)
    registry = compose.registry_of(tree)
    (before, one), (after, two) = (
        versions.card_of(registry, tree.project.name, version) for version in (first, second)
    )
    rows = comparison.rows(one, two, every=every or as_json)
    if as_json:
        found = [dataclasses.asdict(row) | {"change": row.change} for row in rows]
        statuses = {"first": one.status, "second": two.status}
        console.write_json({"first": before, "second": after, "status": statuses, "figures": found})
        return
    _show(rows, (f"{before} {one.status}", f"{after} {two.status}"))


def _show(rows: list[comparison.Row], titles: tuple[str, str]) -> None:
    from retrain.report import words

    screen = console.out()
    for letter, title in zip("AB", titles, strict=True):
        screen.print(f"{letter}  {title}", markup=False)
    numbers = ("A", "B", "change")
    table = console.table("figure", *numbers, "", numbers=numbers)
    for row in rows:
        cells = [words.number(value, row.unit) for value in (row.first, row.second, row.change)]
        mark = "[red]worse[/]" if row.worse else ""
        table.add_row(console.plain(row.name.replace("_", " ")), *cells, mark)
    screen.print(table)
