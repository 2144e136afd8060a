"""The dashboard of what joins machines: events on their way to Kafka, and back from there."""

from __future__ import annotations

from monitoring.dashboards import shared
from monitoring.dashboards.panels import Board, Panel, Query

_RATE = "[$__rate_interval]"

RELAY = (
    (
        shared.stat(
            "Events to relay",
            "Events of this machine that are not in Kafka yet. Nothing is lost while they wait.",
            f"sum(coppice_relay_backlog{shared.M})",
            steps=((None, "green"), (5_000, "yellow"), (100_000, "red")),
            decimals=0,
        ),
        shared.stat(
            "Oldest of them",
            "How long the oldest event has waited: so far behind is every other machine.",
            f"max(coppice_relay_backlog_seconds{shared.M})",
            unit="s",
            steps=shared.GONE,
            decimals=0,
        ),
        shared.stat(
            "Payload to relay",
            "Bytes that wait; the local log must hold them.",
            f"sum(coppice_relay_backlog_bytes{shared.M})",
            decimals=0,
        ),
        shared.stat(
            "Relay waits",
            "1 while no broker can be reached.",
            f"max(coppice_relay_waiting{shared.M})",
            steps=shared.ANY,
            decimals=0,
        ),
        shared.stat(
            "Deadlines missed, 1 h",
            "How often Kafka did not acknowledge in time, and the relay was started again.",
            f"sum(increase(coppice_relay_failures_total{shared.M}[1h]))",
            steps=shared.ANY,
            decimals=0,
        ),
        shared.stat(
            "Too large, 1 h",
            "Events that Kafka could not take, because they were too large.",
            f"sum(increase(coppice_relay_refused_total{shared.M}[1h]))",
            steps=shared.ANY,
            decimals=0,
        ),
    ),
    (
        Panel(
            title="Events relayed",
            text="Events that Kafka acknowledged, a second.",
            queries=(Query(f"sum(rate(coppice_relay_events_total{shared.M}{_RATE}))", "events"),),
            low=0.0,
        ),
        Panel(
            title="Backlog by log",
            text="What waits in the server's outbox, and in the log of the other processes.",
            queries=(Query(f"sum by (log) (coppice_relay_backlog{shared.M})", "{{log}}"),),
            low=0.0,
        ),
        Panel(
            title="Trouble of the relay",
            text="What should stay at nought, a second.",
            queries=(
                Query(f"sum(rate(coppice_relay_failures_total{shared.M}{_RATE}))", "deadlines"),
                Query(f"sum(rate(coppice_relay_log_failures_total{shared.M}{_RATE}))", "own logs"),
                Query(
                    f"sum(rate(coppice_relay_inputs_dropped_total{shared.M}{_RATE}))",
                    "inputs left out",
                ),
            ),
            low=0.0,
        ),
    ),
)

FOLLOWER = (
    (
        shared.stat(
            "Records to read",
            "Records in Kafka that are not in this machine's log yet.",
            f"sum(coppice_follow_lag{shared.M})",
            steps=((None, "green"), (5_000, "yellow"), (20_000, "red")),
            decimals=0,
            width=6,
        ),
        shared.stat(
            "Last heard of the brokers",
            "How long ago they said how many records there are.",
            f"max(time() - coppice_follow_heard_timestamp_seconds{shared.M})",
            unit="s",
            steps=shared.GONE,
            decimals=0,
            width=6,
        ),
        shared.stat(
            "Follower waits",
            "1 while no broker can be reached.",
            f"max(coppice_follow_waiting{shared.M})",
            steps=shared.ANY,
            decimals=0,
            width=6,
        ),
        shared.stat(
            "Dead letters, 1 h",
            "Records put aside because they are no events.",
            f"sum(increase(coppice_follow_dead_letters_total{shared.M}[1h]))",
            steps=shared.ANY,
            decimals=0,
            width=6,
        ),
    ),
    (
        Panel(
            title="Events from Kafka",
            text="Events that came from all machines, a second, repeats included.",
            queries=(Query(f"sum(rate(coppice_follow_events_total{shared.M}{_RATE}))", "events"),),
            low=0.0,
        ),
        Panel(
            title="Lag by topic",
            text="Records that are still to be read.",
            queries=(Query(f"sum by (topic) (coppice_follow_lag{shared.M})", "{{topic}}"),),
            low=0.0,
        ),
        Panel(
            title="Trouble of the follower",
            text="What should stay at nought, a second.",
            queries=(
                Query(
                    f"sum by (error) (rate(coppice_follow_turn_errors_total{shared.M}{_RATE}))",
                    "{{error}}",
                ),
                Query(
                    f"sum(rate(coppice_follow_undecodable_events_total{shared.M}{_RATE}))",
                    "dead letters",
                ),
            ),
            low=0.0,
        ),
    ),
)

BOARD = Board(
    uid="coppice-joining",
    title="Coppice / Joining",
    text="Whether events reach Kafka, and come from there. Empty unless events.backend is kafka.",
    rows=(*RELAY, *FOLLOWER),
)
