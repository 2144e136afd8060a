"""What the doctor says of the cluster that joins machines."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import settings
from coppice.eventlog import envelope
from coppice_cli.doctor import joining
from tests.support import kafka as mock

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[mock.Cluster]:
    made = mock.Cluster()
    yield made
    made.close()


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address that takes no connections, and that nobody else takes meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def tree(folder: Path, **kafka: object) -> settings.Settings:
    tables = {"events": {"backend": "kafka"}, "kafka": kafka}
    return settings.from_tree({"project": {"name": "tiny"}, **tables}, root=folder)


def test_without_kafka_nothing_is_asked(tmp_path: Path) -> None:
    alone = settings.from_tree({"project": {"name": "tiny"}}, root=tmp_path)

    assert list(joining.kafka(alone)) == []


def test_a_cluster_that_is_gone_is_a_problem(tmp_path: Path, deaf: str) -> None:
    (found,) = joining.kafka(tree(tmp_path, servers=deaf))

    assert found.level == "problem"
    assert found.text == f"no broker takes connections: {deaf}"


def test_topics_and_brokers_that_are_missing_are_told(
    tmp_path: Path, deaf: str, cluster: mock.Cluster
) -> None:
    servers = f"{deaf},{cluster.servers[0]}"

    gone, missing = joining.kafka(tree(tmp_path, servers=servers, prefix="none."))

    assert (gone.level, gone.text) == ("warning", f"{deaf} takes no connections")
    assert missing.level == "problem"
    assert "topics are missing: none.coppice" in missing.text


def test_a_cluster_with_all_topics_is_fine(tmp_path: Path, cluster: mock.Cluster) -> None:
    cluster.make_topics(*envelope.all_topics("all."), partitions=1)

    (found,) = joining.kafka(tree(tmp_path, servers=cluster.servers[0], prefix="all."))

    assert found.level == "ok"


SASL = {"sasl_username": "ada", "sasl_password": "hunter2"}


@pytest.mark.parametrize(
    ("table", "texts"),
    [
        ({}, []),
        ({"tls": True, "sasl_mechanism": "PLAIN", **SASL}, []),
        (
            {"sasl_mechanism": "PLAIN", **SASL},
            ["PLAIN without TLS: the password crosses the network as it is"],
        ),
        ({"sasl_mechanism": "SCRAM-SHA-512", **SASL}, ["SCRAM-SHA-512 without TLS"]),
    ],
)
def test_secrets_that_travel_bare_are_a_warning(table: dict[str, object], texts: list[str]) -> None:
    found = list(joining.security(settings.KafkaSettings.model_validate(table)))

    assert [each.text for each in found] == texts
    assert "hunter2" not in repr(found)


def test_host_names_that_are_not_checked_are_a_warning() -> None:
    table = settings.KafkaSettings(tls=True, tls_check_hostname=False)

    (found,) = joining.security(table)

    assert found.level == "warning"


@pytest.mark.parametrize(("newest", "levels"), [(None, []), (104.0, []), (106.0, ["warning"])])
def test_an_event_from_the_future_means_that_clocks_differ(
    newest: float | None, levels: list[str]
) -> None:
    assert [found.level for found in joining.clock(newest, now=100.0)] == levels
