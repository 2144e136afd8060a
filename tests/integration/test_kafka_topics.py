"""Topics are looked at on the mock brokers, and made on Tansu, which knows the admin requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import errors
from coppice.eventlog import kafka_topics, topics
from coppice.eventlog.kafka import Options
from coppice.settings import KafkaSettings
from tests.support import brokers, command_line
from tests.support import kafka as mock

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    with brokers.tansu(tmp_path_factory.mktemp("tansu")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[mock.Cluster]:
    made = mock.Cluster()
    yield made
    made.close()


def project(folder: Path, broker: brokers.Broker, prefix: str) -> None:
    command_line.project(
        folder,
        "[kafka]",
        f'servers = "{broker.options.servers[0]}"',
        f'prefix = "{prefix}"',
        "partitions = 3",
        "replication = 1",
        "min_insync = 1",
    )


def test_partitions_and_copies_are_told(cluster: mock.Cluster) -> None:
    cluster.make_topics("a.coppice.feedback.v1", partitions=4)
    cluster.make_topics("somebody.elses", partitions=1)

    # The mock brokers do not know the request for a topic's settings.
    assert kafka_topics.look(Options(cluster.servers, prefix="a.")) == {
        "a.coppice.feedback.v1": topics.Topic(4, 3, None)
    }


def test_brokers_that_cannot_make_topics_say_so(cluster: mock.Cluster) -> None:
    options = Options(cluster.servers, deadline_seconds=5.0)

    with pytest.raises(errors.EventLogError, match="Kafka cannot be used"):
        kafka_topics.create(options, {"x": topics.Topic(1, 1, 1)})


def test_without_brokers_it_says_so() -> None:
    with pytest.raises(errors.EventLogError, match="Kafka cannot be used"):
        kafka_topics.look(Options(("127.0.0.1:1",), deadline_seconds=1.0))


def test_topics_are_made_as_wanted(broker: brokers.Broker) -> None:
    options = broker.options._replace(prefix="made.")
    table = KafkaSettings(prefix="made.", partitions=3, replication=1, min_insync=1)

    kafka_topics.create(options, topics.wanted(table))

    found = kafka_topics.look(options)
    assert topics.judge(found, table) == []
    assert found["made.coppice.prediction.v1"].partitions == 3
    assert found["made.coppice.prediction.v1.dlq"].partitions == 1


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> command_line.Call:
    return command_line.caller(capsys)


class TestCommand:
    def test_missing_topics_end_it_with_the_code_of_the_event_log(
        self, tmp_path: Path, broker: brokers.Broker, run: command_line.Call
    ) -> None:
        project(tmp_path, broker, "none.")

        done = run("log", "topics", "--project", tmp_path)

        assert done.code == errors.EventLogError.exit_code
        assert "21 topics are missing: none.coppice.candidate.v1" in done.err
        assert "`coppice log topics --create` makes them" in done.err

    def test_they_are_made_once(
        self, tmp_path: Path, broker: brokers.Broker, run: command_line.Call
    ) -> None:
        project(tmp_path, broker, "twice.")

        first = run("log", "topics", "--create", "--project", tmp_path)
        second = run("log", "topics", "--create", "--project", tmp_path)

        assert (first.code, second.code) == (0, 0)
        assert "21 topics made" in first.out
        assert "made" not in second.out

    def test_without_servers_it_says_what_to_set(
        self, tmp_path: Path, run: command_line.Call
    ) -> None:
        command_line.project(tmp_path)

        done = run("log", "topics", "--project", tmp_path)

        assert (done.code, "name the brokers" in done.err) == (2, True)
