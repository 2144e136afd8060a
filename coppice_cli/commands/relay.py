"""`coppice relay`: send this machine's events to the cluster that joins the machines."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from coppice_cli import compose, options


def relay(
    folder: options.Project = options.HERE,
    once: Annotated[bool, typer.Option("--once", help="Send what waits, then stop.")] = False,
) -> None:
    """Send what happened on this machine to Kafka, each event at least once.

    Waits while no broker can be reached. Ends with exit code 9 where Kafka
    misses its deadline, and is to be started again: it goes on where the last
    acknowledged batch ended. Needs `events.backend = "kafka"`.
    """
    from coppice import errors
    from coppice.eventlog import brokers, retention
    from coppice.eventlog.kafka import KafkaLog, Options
    from coppice.eventlog.sqlite import SqliteLog
    from service import relay, relay_recorder

    tree = compose.settings_of(folder)
    if tree.events.backend != "kafka":
        message = (
            f'events.backend is "{tree.events.backend}", so there is nothing to relay; '
            'set it to "kafka" and name the brokers in [kafka]'
        )
        raise errors.SettingsError(message)
    wanted = Options.of(tree)
    # Without the cap on their size: a full log must still be marked, so that it is emptied.
    sources = {"outbox": SqliteLog(tree.outbox_path), "events": SqliteLog(tree.log_path)}
    # Nobody but the relay knows what of the server's outbox may go.
    with retention.running(sources["outbox"], tree, retention.Rules.of_outbox(tree)):
        relay.main(
            sources,
            relay.Cluster(
                reachable=functools.partial(brokers.reachable, wanted.servers),
                connect=functools.partial(KafkaLog, wanted),
                deadline_seconds=wanted.deadline_seconds,
            ),
            recorder=relay_recorder.Recorder(tree.project.name, tree.home),
            host=tree.metrics.host,
            port=tree.kafka.relay_metrics_port,
            once=once,
        )
