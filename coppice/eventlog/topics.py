"""What topics there should be, and whether those that are there will do: pure rules.

Events about one request lie in several topics and are joined by whoever holds the same partition of
each, so these topics must have equally many partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from coppice import records, settings
from coppice.eventlog import envelope

PER_REQUEST = (records.Prediction, records.Feedback, records.Shadow)
"""Kinds whose events are about one request."""
FOR_EVER_MS = "-1"


class Topic(NamedTuple):
    """A topic, as it is or as it should be.

    Attributes
    ----------
    partitions
        How many.
    replication
        Copies of the partition that has the fewest.
    min_insync
        Copies that must be there for a write to be acknowledged; `None` where it is not known.
    retention_ms
        How long records are kept, as Kafka writes it; `None` for what the cluster does by default.
    """

    partitions: int
    replication: int
    min_insync: int | None
    retention_ms: str | None = None


class Finding(NamedTuple):
    """What is wrong with the topics; a problem stands in the way, a warning deserves a look."""

    level: Literal["problem", "warning"]
    text: str
    remedy: str


def wanted(table: settings.KafkaSettings) -> dict[str, Topic]:
    """Return every topic as the settings want it, by name.

    Decisions are kept for ever, because a machine that joins later rebuilds the loop's state from
    them; the bulky kinds as long as the cluster keeps things by default. The facts of monitors that
    share their work are read by one, in one order.
    """
    facts = table.prefix + envelope.FACTS
    bulky = {envelope.topic(records.NAMES[kind], table.prefix) for kind in PER_REQUEST}
    bulky |= {facts, envelope.topic(records.NAMES[records.Measurement], table.prefix)}
    return {
        name: Topic(
            1 if name == facts or name.endswith(envelope.DEAD) else table.partitions,
            table.replication,
            table.min_insync,
            None if name.removesuffix(envelope.DEAD) in bulky else FOR_EVER_MS,
        )
        for name in envelope.all_topics(table.prefix)
    }


def judge(found: Mapping[str, Topic], table: settings.KafkaSettings) -> list[Finding]:
    """Compare the topics that there are with what they must be, and with what is set.

    >>> judge({}, settings.KafkaSettings())[0].text[:23]
    '21 topics are missing: '
    """
    return [
        *_missing(found, table),
        *_joined(found, table.prefix),
        *(
            finding
            for name, plan in wanted(table).items()
            if name in found
            for finding in _one(name, found[name], plan)
        ),
    ]


def _missing(found: Mapping[str, Topic], table: settings.KafkaSettings) -> list[Finding]:
    names = [name for name in wanted(table) if name not in found]
    if not names:
        return []
    text = f"{len(names)} topics are missing: {', '.join(names)}"
    return [Finding("problem", text, "`coppice log topics --create` makes them")]


def _joined(found: Mapping[str, Topic], prefix: str) -> list[Finding]:
    names = (envelope.topic(records.NAMES[kind], prefix) for kind in PER_REQUEST)
    counts = {name: found[name].partitions for name in names if name in found}
    if len(set(counts.values())) <= 1:
        return []
    listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
    text = f"topics of one request must have equally many partitions, but {listed}"
    remedy = "stop Coppice, delete and make them anew: adding partitions would part old requests"
    return [Finding("problem", text, remedy)]


def _one(name: str, found: Topic, plan: Topic) -> list[Finding]:
    findings = []
    if found.min_insync is not None and found.min_insync > found.replication:
        text = (
            f"{name} wants {found.min_insync} copies in sync, but has only {found.replication}: "
            "no write is ever acknowledged"
        )
        findings.append(Finding("problem", text, "lower min.insync.replicas, or add copies"))
    elif found.min_insync is not None and found.min_insync < (plan.min_insync or 1):
        text = (
            f"{name} acknowledges with {found.min_insync} copies in sync, less than "
            f"kafka.min_insync ({plan.min_insync})"
        )
        findings.append(Finding("warning", text, "raise the topic's min.insync.replicas"))
    if found.replication < plan.replication:
        text = (
            f"{name} has {found.replication} copies, less than kafka.replication "
            f"({plan.replication})"
        )
        findings.append(Finding("warning", text, "add copies: a lost broker may lose events"))
    return findings
