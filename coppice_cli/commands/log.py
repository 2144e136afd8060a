"""`coppice log`: look at the event log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from rich.table import Table

    from coppice import settings
    from coppice.eventlog import base
    from coppice.eventlog.topics import Topic
    from coppice_cli import export as exports

app = typer.Typer(no_args_is_help=True, help="Look at the event log.")

MOST = 1_000_000
"""Events that `tail` holds in memory at once; `export` writes any number."""
MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

Kind = Annotated[
    str, typer.Option(metavar="KIND", help="Only events of one kind, for example verdict.")
]
Since = Annotated[
    datetime | None, typer.Option(formats=MOMENTS, help="Only events from then on, UTC.")
]
Until = Annotated[
    datetime | None, typer.Option(formats=MOMENTS, help="Only events before then, UTC.")
]
From = Annotated[
    Literal["local", "kafka"],
    typer.Option("--from", help="This machine's log, or the cluster that joins the machines."),
]


@app.command()
def tail(
    folder: options.Project = options.HERE,
    kind: Kind = "",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MOST, help="How many events.")
    ] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new ones until interrupted.")
    ] = False,
    source: From = "local",
) -> None:
    """Print the newest events, one JSON object per line; tensors are abbreviated."""
    from coppice_cli import cluster, events

    wanted = events.kind_of(kind) if kind else None
    tree = compose.settings_of(folder)
    with contextlib.ExitStack() as stack:
        log: base.Readable
        if source == "kafka":
            log = far = stack.enter_context(cluster.opened(tree))
            batch = cluster.newest(far, limit, wanted)
        else:
            log = near = stack.enter_context(compose.event_log(tree))
            batch = events.newest(near, limit, wanted)
        for event in batch.events:
            console.write_json(events.plain(event))
        if follow:
            for event in events.follow(log, batch.position, wanted, compose.clock()):
                console.write_json(events.plain(event))


@app.command()
def stats(
    folder: options.Project = options.HERE,
    as_json: options.Json = False,
    source: From = "local",
) -> None:
    """Count the events by kind, and say how large the log is."""
    from coppice import clock
    from coppice_cli import events

    tree = compose.settings_of(folder)
    with _reading(tree, source) as log:
        found = events.counts(log)
    facts = _about(tree, source)
    if as_json:
        console.write_json({**facts, "events": {count.type: count.events for count in found}})
        return
    table = console.table("type", "events", "first", "last", numbers=("events",))
    for count in found:
        first, last = (clock.rfc3339(time)[:19] for time in (count.first, count.last))
        table.add_row(count.type, f"{count.events:,}", first, last)
    console.out().print(table)
    if source == "kafka":
        console.out().print(f"Kafka at {facts['servers']}", soft_wrap=True)
        return
    console.out().print(f"{facts['path']}: {facts['bytes'] / 2**20:.1f} MiB", soft_wrap=True)
    for reader, position in facts["readers"].items():
        console.out().print(f"{reader} has read up to {position or 'the start'}", soft_wrap=True)


def _about(tree: settings.Settings, source: str) -> dict[str, Any]:
    """Say where a log is, and what else is known of it."""
    if source == "kafka":
        return {"servers": tree.kafka.servers, "prefix": tree.kafka.prefix}
    size = tree.log_path.stat().st_size if tree.log_path.exists() else 0
    with compose.event_log(tree) as log:
        return {"path": str(tree.log_path), "bytes": size, "readers": log.readers()}


@contextlib.contextmanager
def _reading(tree: settings.Settings, source: str) -> Iterator[base.Readable]:
    """Open the log that is meant, to read all that is in it now."""
    from coppice_cli import cluster

    if source == "kafka":
        with cluster.opened(tree) as far:
            yield cluster.Snapshot(far)
    else:
        with compose.event_log(tree) as near:
            yield near


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="File to write; `-` is standard output.")],
    folder: options.Project = options.HERE,
    form: Annotated[
        Literal["jsonl", "parquet"], typer.Option("--format", help="Form of the file.")
    ] = "jsonl",
    kind: Kind = "",
    since: Since = None,
    until: Until = None,
    source: From = "local",
) -> None:
    """Write events to a file for other programs, tensors whole.

    The log is read in chunks, so a long one needs no more memory than a short
    one. Parquet has one row per event, and its record as JSON. From Kafka an
    event may come twice, with the same id.
    """
    from coppice import errors
    from coppice_cli import export as exports

    if form == "parquet" and str(target) == "-":
        message = "Parquet cannot be written to standard output; name a file"
        raise errors.EventLogError(message)
    with _reading(compose.settings_of(folder), source) as log, _writing(target):
        found = exports.chunks(log, _wanted(kind, since, until))
        if form == "parquet":
            written = exports.parquet(found, target)
        else:
            with _opened(target) as out:
                written = exports.json_lines(found, out)
    console.err().print(f"{written:,} events written to {target}", markup=False, soft_wrap=True)


@app.command()
def replay(
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="Folder of the other project.")
    ],
    folder: options.Project = options.HERE,
    kind: Kind = "",
    since: Since = None,
    until: Until = None,
    origin: From = "local",
) -> None:
    """Append this project's events to another project's log, in order.

    A monitor with other settings can so be tried on yesterday's traffic. Ids
    are kept: what is in the other log already is passed over.
    """
    from coppice import errors
    from coppice_cli import export as exports

    source, target = compose.settings_of(folder), compose.settings_of(into)
    if source.log_path == target.log_path:
        message = f"{into} is the project that the events come from; name another one"
        raise errors.EventLogError(message)
    with _reading(source, origin) as log, compose.event_log(target) as other:
        copied = exports.copy(exports.chunks(log, _wanted(kind, since, until)), other)
    console.out().print(f"{copied:,} events replayed into {target.log_path}", soft_wrap=True)


@app.command()
def forget(
    reader: Annotated[str, typer.Argument(help="Its name; `coppice log stats` shows them.")],
    folder: options.Project = options.HERE,
) -> None:
    """Forget a reader that will not come back, so that retention passes it."""
    from coppice import errors

    with compose.event_log(compose.settings_of(folder)) as log:
        known = log.readers()
        if reader not in known:
            message = f"no reader is called {reader!r}; known: {', '.join(known) or 'none'}"
            raise errors.EventLogError(message)
        log.forget(reader)


@app.command()
def topics(
    folder: options.Project = options.HERE,
    create: Annotated[bool, typer.Option("--create", help="Make those that are missing.")] = False,
) -> None:
    """Check the topics in Kafka: presence, partitions, copies.

    Ends with exit code 5 where something stands in the way. What is there
    already is never changed.
    """
    from coppice import errors
    from coppice.eventlog import kafka_topics, topics
    from coppice.eventlog.kafka import Options

    tree = compose.settings_of(folder)
    if not tree.kafka.servers:
        message = "kafka.servers is empty; name the brokers in [kafka]"
        raise errors.SettingsError(message)
    reached, plans = Options.of(tree), topics.wanted(tree.kafka)
    found = kafka_topics.look(reached)
    missing = {name: plan for name, plan in plans.items() if name not in found}
    if create and missing:
        kafka_topics.create(reached, missing)
        console.out().print(f"{len(missing)} topics made", soft_wrap=True)
        found = kafka_topics.look(reached)
    console.out().print(_topics_table(found))
    judged = topics.judge(found, tree.kafka)
    for finding in judged:
        text = f"{finding.level}: {finding.text}; {finding.remedy}"
        console.err().print(text, markup=False, soft_wrap=True)
    if any(finding.level == "problem" for finding in judged):
        message = "the topics will not do; see above"
        raise errors.EventLogError(message)


def _topics_table(found: Mapping[str, Topic]) -> Table:
    table = console.table(
        *("topic", "partitions", "copies", "in sync at least", "kept, ms"),
        numbers=("partitions", "copies", "in sync at least", "kept, ms"),
    )
    for name, topic in sorted(found.items()):
        unknown = "not told"
        insync = unknown if topic.min_insync is None else str(topic.min_insync)
        table.add_row(
            *(name, str(topic.partitions), str(topic.replication)),
            *(insync, topic.retention_ms or unknown),
        )
    return table


def _wanted(kind: str, since: datetime | None, until: datetime | None) -> exports.Wanted:
    from coppice_cli import events, export

    return export.Wanted(
        kind=events.kind_of(kind) if kind else None,
        since=float("-inf") if since is None else since.replace(tzinfo=UTC).timestamp(),
        until=float("inf") if until is None else until.replace(tzinfo=UTC).timestamp(),
    )


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    from coppice import errors

    try:
        yield
    except BrokenPipeError:
        # Who reads has enough, as behind `| head`: that is no error of ours.
        raise
    except OSError as cause:
        message = f"{target} cannot be written: {cause}"
        raise errors.EnvironmentProblem(message) from cause


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[TextIO]:
    if str(target) == "-":
        yield sys.stdout
        return
    with target.open("w", encoding="utf-8") as out:
        yield out
