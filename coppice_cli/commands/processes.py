"""`coppice serve`, `monitor`, `retrain`: one process of the loop each, in the foreground."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from coppice_cli import compose, console, options


def serve(folder: options.Project = options.HERE) -> None:
    """Serve the champion over HTTP, and the candidate in its lanes."""
    from service import serve

    tree = compose.settings_of(folder)
    command = serve.command(tree)
    # The server takes this process's place, so that signals reach it and nothing in between.
    os.execvpe(command[0], command, serve.environment(tree))  # noqa: S606


def monitor(folder: options.Project = options.HERE) -> None:
    """Join labels, measure drift and accuracy, and write verdicts."""
    from monitoring import loop

    loop.main(compose.settings_of(folder))


def retrain(
    folder: options.Project = options.HERE,
    once: Annotated[
        bool, typer.Option("--once", help="Answer what is waiting, then stop.")
    ] = False,
) -> None:
    """Answer verdicts of decay with new candidates, within budget and cool-down."""
    from coppice import telemetry
    from coppice_cli import narrator
    from retrain import loop

    tree = compose.settings_of(folder)
    if not once:
        loop.main(tree)
        return
    telemetry.configure("retrain")
    with compose.event_log(tree) as log:
        teller = narrator.Narrator(log, tree.project.name)
        loop.Retrainer(log, compose.registry_of(tree), tree, compose.clock()).turn()
        for sentence in teller.news() or ["no verdict of decay waits for an answer"]:
            console.out().print(sentence, markup=False, soft_wrap=True)
