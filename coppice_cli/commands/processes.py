"""`coppice serve`, `monitor`, `retrain`: one process of the loop each, in the foreground."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Annotated

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from coppice import settings


def serve(folder: options.Project = options.HERE) -> None:
    """Serve the champion over HTTP, and the candidate in its lanes."""
    from service import serve

    tree = compose.settings_of(folder)
    command = serve.command(tree)
    # The server takes this process's place, so that signals reach it and nothing in between.
    os.execvpe(command[0], command, serve.environment(tree))  # noqa: S606


def monitor(folder: options.Project = options.HERE) -> None:
    """Join labels, measure drift and accuracy, and write verdicts.

    Where `monitor.group` is set, several of these share the work, and one of
    them writes the verdicts. Such a one ends with exit code 9 where Kafka's
    client gets nowhere, and is to be started again.
    """
    from monitoring import loop

    tree = compose.settings_of(folder)
    if tree.monitor.group:
        _monitor_together(tree)
    else:
        loop.main(tree)


def _monitor_together(tree: settings.Settings) -> None:
    from coppice import errors
    from coppice.eventlog import brokers, kafka, kafka_group
    from monitoring import feed, group

    if tree.events.backend != "kafka":
        message = (
            f'monitor.group is "{tree.monitor.group}", but events.backend is '
            f'"{tree.events.backend}": monitors share their work through Kafka only'
        )
        raise errors.SettingsError(message)
    wanted = kafka.Options.of(tree)
    group.main(
        tree,
        group.Cluster(
            reachable=functools.partial(brokers.reachable, wanted.servers),
            connect=functools.partial(
                kafka_group.GroupReader, wanted, tree.monitor.group, feed.KINDS
            ),
        ),
    )


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
