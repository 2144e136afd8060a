"""The topics of a cluster, looked at and made through Kafka's admin requests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import kafka.admin
import kafka.errors
import structlog

from coppice import errors
from coppice.eventlog import envelope, topics
from coppice.eventlog import kafka as kafka_log

_MIN_INSYNC = "min.insync.replicas"
_RETENTION = "retention.ms"
_OLD_ENOUGH = (2, 2)

_log = structlog.get_logger(__name__)


def look(options: kafka_log.Options) -> dict[str, topics.Topic]:
    """Return the topics of ours that there are.

    Where the brokers do not tell a topic's settings, `min_insync` and `retention_ms` are `None`.

    Raises
    ------
    EventLogError
        No broker answers.
    """
    ours = set(envelope.all_topics(options.prefix))
    with _admin(options) as admin:
        described = [topic for topic in admin.describe_topics() if topic["name"] in ours]
        configured = _configured(admin, [topic["name"] for topic in described])
    return {
        topic["name"]: _topic(topic["partitions"], configured.get(topic["name"], {}))
        for topic in described
    }


def create(options: kafka_log.Options, wanted: Mapping[str, topics.Topic]) -> None:
    """Make topics.

    Raises
    ------
    EventLogError
        The brokers refuse, or do not know how; topics that were made stay.
    """
    with _admin(options) as admin:
        admin.create_topics({name: _request(topic) for name, topic in wanted.items()})


def _request(topic: topics.Topic) -> dict[str, Any]:
    configs = {_MIN_INSYNC: topic.min_insync, _RETENTION: topic.retention_ms}
    return {
        "num_partitions": topic.partitions,
        "replication_factor": topic.replication,
        "configs": {name: str(value) for name, value in configs.items() if value is not None},
    }


def _topic(partitions: list[dict[str, Any]], configured: dict[str, str]) -> topics.Topic:
    insync = configured.get(_MIN_INSYNC)
    return topics.Topic(
        partitions=len(partitions),
        replication=min((len(part["replica_nodes"]) for part in partitions), default=0),
        min_insync=None if insync is None else int(insync),
        retention_ms=configured.get(_RETENTION),
    )


def _configured(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Ask for the settings of topics; some brokers do not tell them."""
    kind = kafka.admin.ConfigResourceType.TOPIC
    wanted: dict[str, Any] = dict.fromkeys((_MIN_INSYNC, _RETENTION))
    asked = [kafka.admin.ConfigResource(kind, name, wanted) for name in names]
    try:
        found = admin.describe_configs(asked, config_filter="all")["topic"] if asked else {}
    except (kafka.errors.KafkaError, KeyError) as problem:
        _log.warning("settings_of_topics_unknown", error=repr(problem))
        return {}
    return {
        name: {key: value["value"] for key, value in settings.items()}
        for name, settings in found.items()
    }


@contextlib.contextmanager
def _admin(options: kafka_log.Options) -> Iterator[Any]:
    connection = options.connection()
    # A setting of producers and consumers only.
    del connection["metrics_enabled"]
    # Later answers say what we may do to a topic, in bits that the library does not always know.
    connection["api_version"] = min(options.api_version, _OLD_ENOUGH)
    connection["bootstrap_timeout_ms"] = int(1000 * options.deadline_seconds)
    with kafka_log.wrapped():
        admin = kafka.admin.KafkaAdminClient(**connection)
        try:
            yield admin
        except (KeyError, TypeError, ValueError) as cause:
            message = f"the brokers' answer to an admin request cannot be read: {cause!r}"
            raise errors.EventLogError(message) from cause
        finally:
            admin.close()
