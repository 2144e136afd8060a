"""`coppice sweep`: which criterion at which amount, measured side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from coppice_cli import compose, console, options

Criteria = Annotated[
    str,
    typer.Option(metavar="NAME,...", help="What to compare, or all; random is always among them."),
]
Amounts = Annotated[
    str,
    typer.Option(metavar="SHARE,...", help="Shares that are removed, each from 0 up to below 1."),
]
Seeds = Annotated[
    int, typer.Option(min=1, help="Trainings of each; the spread between them is shown.")
]
Level = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="What is removed; by default the recipe's.")
]
Recipe = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="JSON of what stays the same, in place of \\[prune]."),
]
Minutes = Annotated[
    float | None, typer.Option(min=0.0, help="Begin nothing after so many; run again to go on.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FOLDER", help="Where to; else .coppice/sweep."),
]
Scored = Annotated[
    Literal["validation", "holdout"],
    typer.Option("--on", help="Whose rows say how good a model is."),
]
NoControl = Annotated[
    bool, typer.Option("--no-control", help="Leave random out, unless it is named.")
]


def sweep(
    folder: options.Project = options.HERE,
    criteria: Criteria = "all",
    amounts: Amounts = "0.3,0.5,0.7,0.9",
    seeds: Seeds = 3,
    level: Level = None,
    recipe: Recipe = None,
    minutes: Minutes = None,
    out: Out = None,
    scored: Scored = "validation",
    no_control: NoControl = False,
    as_json: options.Json = False,
) -> None:
    """Prune by every criterion at every amount, and show what each costs and saves.

    Each combination is pruned, recovers, and is measured: score, loss against
    a null control, and speed on the graph that serves. Nothing is registered.
    A sweep that is stopped goes on where it was with the same command.

    Example: coppice sweep --criteria magnitude,taylor --amounts 0.5,0.7
    """
    from coppice_cli import progress, sweeping
    from retrain.sweep import run

    tree = compose.settings_of(folder)
    wish = sweeping.Wish(
        criteria=criteria,
        amounts=amounts,
        seeds=seeds,
        level=level,
        recipe=recipe,
        control=not no_control,
        scored=scored,
    )
    wanted = sweeping.plan_of(wish, tree)
    own, registry = compose.project_of(tree), compose.registry_of(tree)
    target = out or tree.home / "sweep"
    with progress.sweep_bars(console.err()) as tell:
        result = run.sweep(
            own,
            registry,
            wanted,
            target,
            tell=tell,
            seconds=None if minutes is None else 60.0 * minutes,
        )
    sweeping.show(result, wanted, target, as_json=as_json)
    if result.ending == "interrupted":
        raise typer.Exit(130)
