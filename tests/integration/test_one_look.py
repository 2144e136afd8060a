"""What a retraining job does around its look: fetch what there is, send what came of it.

The real commands, against librdkafka's mock cluster of 3 brokers; skipped where confluent-kafka is
not installed.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from coppice.eventlog import base, envelope
from coppice.eventlog.kafka import KafkaLog, Options
from coppice.eventlog.sqlite import SqliteLog
from tests.support import events
from tests.support import kafka as mock

# kafka-python leaves sockets open whose connection was replaced.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def once(command: str, folder: Path) -> int:
    """Run a command that does what waits, and return its exit code."""
    words = [sys.executable, "-m", "coppice_cli", command, "--once", "--project", str(folder)]
    return subprocess.run(words, check=False, timeout=300).returncode


def test_what_is_in_kafka_is_fetched_and_what_is_new_is_sent(tmp_path: Path) -> None:
    with contextlib.closing(mock.Cluster()) as cluster:
        cluster.make_topics(*envelope.all_topics(""), partitions=1)
        (tmp_path / "coppice.toml").write_text(
            '[project]\nname = "digits"\n[events]\nbackend = "kafka"\n'
            f'[kafka]\nservers = "{",".join(cluster.servers)}"\n'
        )
        there, made = [events.prediction("a"), events.feedback("a")], events.command("pause")
        with contextlib.closing(KafkaLog(Options(cluster.servers))) as shared:
            shared.append(there)

        assert once("follow", tmp_path) == 0
        with contextlib.closing(SqliteLog(tmp_path / ".coppice" / "events.sqlite")) as log:
            fetched = log.read(base.START).events
            log.append([made])
        assert once("relay", tmp_path) == 0

        with contextlib.closing(KafkaLog(Options(cluster.servers))) as shared:
            sent = shared.read(base.START).events
    assert {event.id for event in fetched} == {event.id for event in there}
    assert {event.id for event in sent} == {event.id for event in [*there, made]}
