"""`coppice search`: choose blocks and widths of a recipe by what they cost on the target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from coppice import settings
    from retrain.search import choice


def search(
    folder: options.Project = options.HERE,
    target: Annotated[
        str | None, typer.Option(help="What is to become less: latency, size, memory or macs.")
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option(
            metavar="TIMES", help="Ask for a cost so many times better, at the least damage."
        ),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Largest loss of mean score, e.g. 0.005.")
    ] = None,
    max_slice_drop: Annotated[
        float | None, typer.Option(help="Largest loss of any slice that is shown.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Begin nothing new after so long; run again to go on.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON of the recipe to fill in; its earlier steps stay."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(metavar="ROWS", help="Rows in the batch that is measured.")
    ] = None,
    blocks: Annotated[
        bool | None,
        typer.Option(
            "--blocks/--no-blocks", help="Leave whole blocks out, too, or choose widths alone."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the recipe found is written.")
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Only show how much each group matters.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Find blocks and widths that cost least within a budget of score; write the recipe.

    Structures are measured on this machine, in what may serve, and remembered; some
    race in short recoveries, and the best are compared with the dense parent trained
    as long. A search that was stopped goes on where it was. With --at-least it is the
    other way round: the least damage that reaches the cost.

    Exit code 4: no width meets the budget (the nearest is shown); 6: none to choose.
    """
    from coppice_cli import searching

    tree = compose.settings_of(folder)
    asked = searching.Asked(
        target=target,
        at_least=at_least,
        max_drop=max_drop,
        max_slice_drop=max_slice_drop,
        minutes=minutes,
        recipe=recipe,
        batch=batch,
        blocks=blocks,
    )
    wish = searching.wish_of(asked, tree)
    if sensitivity:
        _look(tree, wish, as_json=as_json)
    else:
        _choose(tree, wish, out, as_json=as_json)


def _look(tree: settings.Settings, wish: choice.Wish, *, as_json: bool) -> None:
    from coppice_cli import progress, search_view
    from retrain.search import loop

    own, registry = compose.project_of(tree), compose.registry_of(tree)
    with progress.bars(console.err()) as tell:
        points = loop.sweep(own, registry, wish, progress=tell)
    search_view.show_points(points, as_json=as_json)


def _choose(tree: settings.Settings, wish: choice.Wish, out: Path | None, *, as_json: bool) -> None:
    from coppice_cli import progress, search_view, searching
    from retrain.search import loop

    own, registry = compose.project_of(tree), compose.registry_of(tree)
    with progress.bars(console.err()) as tell:
        found = loop.search(own, registry, wish, progress=tell)
    path = searching.write_recipe(found, out, tree)
    search_view.show(found, wish, path, searching.write_page(found, wish, tree), as_json=as_json)
    searching.judge(found, wish)
