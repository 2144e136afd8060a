"""`coppice log`: look at the event log."""

from __future__ import annotations

from typing import Annotated

import typer

from coppice_cli import compose, console, options

app = typer.Typer(no_args_is_help=True, help="Look at the event log.")


@app.command()
def tail(
    folder: options.Project = options.HERE,
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="Only events of one kind, for example verdict.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many events.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new ones until interrupted.")
    ] = False,
) -> None:
    """Print the newest events, one JSON object per line; tensors are abbreviated."""
    from coppice_cli import events

    wanted = events.kind_of(kind) if kind else None
    with compose.event_log(compose.settings_of(folder)) as log:
        batch = events.newest(log, limit, wanted)
        for event in batch.events:
            console.write_json(events.plain(event))
        if follow:
            for event in events.follow(log, batch.position, wanted, compose.clock()):
                console.write_json(events.plain(event))


@app.command()
def stats(folder: options.Project = options.HERE, as_json: options.Json = False) -> None:
    """Count the events by kind, and say how large the log is."""
    from coppice import clock
    from coppice_cli import events

    tree = compose.settings_of(folder)
    with compose.event_log(tree) as log:
        found = events.counts(log)
    size = tree.log_path.stat().st_size if tree.log_path.exists() else 0
    if as_json:
        counted = {count.type: count.events for count in found}
        console.write_json({"path": str(tree.log_path), "bytes": size, "events": counted})
        return
    table = console.table("type", "events", "first", "last", numbers=("events",))
    for count in found:
        first, last = (clock.rfc3339(time)[:19] for time in (count.first, count.last))
        table.add_row(count.type, f"{count.events:,}", first, last)
    console.out().print(table)
    console.out().print(f"{tree.log_path}: {size / 2**20:.1f} MiB", soft_wrap=True)
