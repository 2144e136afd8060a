"""`coppice status`: how the project is doing, at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from coppice import settings
    from coppice.eventlog.base import IndexedLog
    from coppice.registry import base
    from coppice_cli import snapshot


def status(
    folder: options.Project = options.HERE,
    as_json: options.Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again and again until interrupted.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.2, metavar="SECONDS", help="Pause between two looks.")
    ] = 2.0,
) -> None:
    """Show versions, lanes, evidence, drift and accuracy at a glance."""
    import msgspec

    from coppice_cli import status_view

    tree = compose.settings_of(folder)
    registry = compose.registry_of(tree)
    with compose.event_log(tree) as log:
        if watch:
            _watch(tree, log, registry, every)
        seen = _take(tree, log, registry)
    if as_json:
        console.write_json(msgspec.to_builtins(seen))
    else:
        console.out().print(status_view.render(seen))


def _watch(tree: settings.Settings, log: IndexedLog, registry: base.Registry, every: float) -> None:
    import rich.live

    from coppice_cli import status_view

    clock = compose.clock()
    with rich.live.Live(console=console.out(), auto_refresh=False) as screen:
        while True:
            screen.update(status_view.render(_take(tree, log, registry)), refresh=True)
            clock.sleep(every)


def _take(tree: settings.Settings, log: IndexedLog, registry: base.Registry) -> snapshot.Snapshot:
    from coppice_cli import snapshot

    return snapshot.take(tree, log, registry, now=compose.clock().now())
