"""`coppice follow`: bring the events of all machines into this machine's log."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from coppice_cli import compose, options


def follow(
    folder: options.Project = options.HERE,
    once: Annotated[bool, typer.Option("--once", help="Store what there is, then stop.")] = False,
) -> None:
    """Store what happened on all machines in this one's log, each event once.

    Waits while no broker can be reached. Ends with exit code 9 where Kafka's
    client gets nowhere, and is to be started again: it goes on where the log
    ends. Needs `events.backend = "kafka"`.
    """
    from coppice import errors
    from coppice.eventlog import brokers
    from coppice.eventlog.kafka import Options
    from coppice.eventlog.kafka_reader import KafkaReader
    from coppice.eventlog.sqlite import SqliteLog
    from coppice.follow import loop, recorder

    tree = compose.settings_of(folder)
    if tree.events.backend != "kafka":
        message = (
            f'events.backend is "{tree.events.backend}", so there is nothing to follow; '
            'set it to "kafka" and name the brokers in [kafka]'
        )
        raise errors.SettingsError(message)
    wanted = Options.of(tree)
    events = tree.events
    loop.main(
        SqliteLog(tree.log_path, durability=events.durability, max_bytes=events.cap_bytes),
        loop.Cluster(
            reachable=functools.partial(brokers.reachable, wanted.servers),
            connect=functools.partial(KafkaReader, wanted),
            deadline_seconds=wanted.deadline_seconds,
        ),
        recorder=recorder.Recorder(tree.project.name, tree.kafka.prefix),
        host=tree.metrics.host,
        port=tree.kafka.follow_metrics_port,
        once=once,
    )
