"""One machine with `events.backend = "kafka"`: all that happens goes through the brokers and back.

On librdkafka's mock cluster; skipped where confluent-kafka is not installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import records
from coppice.eventlog import base, envelope
from coppice.eventlog.kafka import Options
from coppice.eventlog.sqlite import SqliteLog
from tests.support import kafka as mock
from tests.support import serving

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[mock.Cluster]:
    made = mock.Cluster()
    made.make_topics(*envelope.all_topics(), partitions=2)
    yield made
    made.close()


@contextlib.contextmanager
def up(made: serving.Project, output: Path) -> Iterator[serving.Server]:
    """Run `coppice up` on a project, and end it as an operator does."""
    argv = [sys.executable, "-P", "-m", "coppice_cli", "up", "--project", str(made.tree.root)]
    with output.open("wb") as stream:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(argv, stdout=stream, stderr=stream, env=environment)
    try:
        yield serving.Server(process, f"http://127.0.0.1:{made.tree.serve.port}", output)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(300.0)


def test_an_answer_and_its_label_reach_the_monitors_log_through_the_brokers(
    cluster: mock.Cluster, tmp_path: Path
) -> None:
    options = Options(cluster.servers)
    made = serving.project(
        tmp_path / "project",
        serve={"port": serving.free_port()},
        monitor={"port": serving.free_port()},
        events={"backend": "kafka"},
        kafka={"servers": ",".join(options.servers)},
    )
    output = tmp_path / "up.log"
    with up(made, output) as running, contextlib.closing(SqliteLog(made.tree.log_path)) as replica:
        serving.wait_until(lambda: serving.is_ready(running), output.read_text)
        answer = running.ask("/v2/models/tiny/infer", serving.infer_body(id="r1"))
        label = json.dumps({"request_id": "r1", "label": 1}).encode()
        accepted = running.ask("/feedback", label)
        serving.wait_until(lambda: bool(replica.find("r1", records.Feedback)), output.read_text)
        serving.wait_until(lambda: bool(replica.find("r1", records.Prediction)), output.read_text)

        assert (answer.status, accepted.status) == (200, 200)
        arrived = {event.id for event in replica.find("r1", records.Prediction)}
        assert arrived & {event.id for event in replica.read_local(base.START).events} == set()
        in_kafka = {
            dict(record.headers)["ce_subject"]
            for kind in ("prediction", "feedback")
            for record in mock.records_of(options.servers, f"coppice.{kind}.v1")
        }
        assert in_kafka == {b"r1"}
