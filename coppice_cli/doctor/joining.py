"""Checks of what joins machines: the brokers, the topics, the clock, and how secrets travel."""

from __future__ import annotations

from collections.abc import Iterator

from coppice import settings
from coppice_cli.doctor import finding
from coppice_cli.doctor.finding import Finding

AHEAD_SECONDS = 5.0
"""More than clocks that are set by NTP ever differ."""


def kafka(tree: settings.Settings) -> Iterator[Finding]:
    """Ask the cluster, where the settings name one for use."""
    if tree.events.backend != "kafka":
        return
    from coppice.eventlog import brokers

    yield from security(tree.kafka)
    gone = [address for address in tree.kafka.addresses if not brokers.reachable([address])]
    remedy = "check the address, the network and the firewall; events wait in this machine's log"
    if len(gone) == len(tree.kafka.addresses):
        yield finding.problem("kafka", f"no broker takes connections: {', '.join(gone)}", remedy)
        return
    for address in gone:
        yield finding.warning("kafka", f"{address} takes no connections", remedy)
    yield from _topics(tree)


def _topics(tree: settings.Settings) -> Iterator[Finding]:
    from coppice.eventlog import kafka_topics, topics
    from coppice.eventlog.kafka import Options

    found = kafka_topics.look(Options.of(tree))
    judged = topics.judge(found, tree.kafka)
    for each in judged:
        make = finding.problem if each.level == "problem" else finding.warning
        yield make("kafka", each.text, each.remedy)
    if not judged:
        yield finding.ok(
            "kafka", f"the brokers answer, and {len(found)} topics are as they must be"
        )


def security(table: settings.KafkaSettings) -> Iterator[Finding]:
    """Warn of what others on the network can read or pretend."""
    if table.sasl_mechanism is not None and not table.tls:
        text = f"{table.sasl_mechanism} without TLS"
        if table.sasl_mechanism == "PLAIN":
            text += ": the password crosses the network as it is"
        yield finding.warning("kafka", text, "set kafka.tls = true")
    if table.tls and not table.tls_check_hostname:
        text = "the brokers' host names are not checked, so anybody with a certificate may be one"
        yield finding.warning("kafka", text, "remove kafka.tls_check_hostname")


def clock(newest: float | None, now: float) -> Iterator[Finding]:
    """Compare this machine's clock with the newest event that came from another.

    >>> [found.level for found in clock(newest=100.0, now=0.0)]
    ['warning']
    """
    if newest is not None and newest - now > AHEAD_SECONDS:
        text = f"the newest event was written {newest - now:.0f} s in the future"
        yield finding.warning("clock", text, "set the clocks of all machines by NTP")
