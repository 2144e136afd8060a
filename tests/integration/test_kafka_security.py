"""TLS and passwords towards brokers: what gets in, what the refused are told, what no log holds.

Doors in front of librdkafka's mock brokers end TLS and ask for passwords (`tests.support.front`);
skipped where confluent-kafka or cryptography is not installed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coppice import errors
from coppice.eventlog import base, envelope, kafka_topics
from coppice.eventlog.kafka import KafkaLog, Options
from coppice.eventlog.kafka_reader import KafkaReader
from coppice.settings import Settings
from tests.support import events, front
from tests.support import kafka as mock

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RIGHT, WRONG = "s3cr3t-right", "s3cr3t-wrong"
USERS = {"ada": RIGHT}
TLS = {"tls": True, "tls_ca_file": "authority.pem"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[mock.Cluster]:
    made = mock.Cluster()
    made.make_topics(*envelope.all_topics(), partitions=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def certificates(folder: Path) -> front.Certificates:
    return front.certificates(folder)


def options(folder: Path, servers: str, seconds: float, **table: Any) -> Options:
    fields = {"servers": servers, "deadline_seconds": seconds, **table}
    return Options.of(
        Settings.model_validate(
            {"root": folder, "project": {"name": "tiny", "task": "binary"}, "kafka": fields}
        )
    )


def as_ada(mechanism: str, password: str) -> dict[str, Any]:
    return {
        **TLS,
        "sasl_mechanism": mechanism,
        "sasl_username": "ada",
        "sasl_password": password,
    }


def comes_back(options: Options) -> bool:
    """Whether an event that is appended is read again."""
    event = events.command()
    with contextlib.closing(KafkaLog(options)) as log:
        log.check()
        log.append([event])
        return event in log.read(base.START).events


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_who_knows_the_password_gets_in_over_tls(
    cluster: mock.Cluster, certificates: front.Certificates, folder: Path, mechanism: str
) -> None:
    with front.Doors(cluster.servers, tls=certificates.context(), users=USERS) as doors:
        found = options(folder, doors.servers, 20.0, **as_ada(mechanism, RIGHT))
        assert comes_back(found)
        assert (doors.admitted > 0, doors.refused) == (True, 0)


def test_a_broker_that_asks_for_a_certificate_gets_ours(
    cluster: mock.Cluster, certificates: front.Certificates, folder: Path
) -> None:
    ours = {"tls_cert_file": "me.pem", "tls_key_file": "me.pem"}
    with front.Doors(cluster.servers, tls=certificates.context(ask_client=True)) as doors:
        assert comes_back(options(folder, doors.servers, 20.0, **TLS, **ours))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_told_as_such_and_shown_nowhere(
    cluster: mock.Cluster,
    certificates: front.Certificates,
    folder: Path,
    mechanism: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with front.Doors(cluster.servers, tls=certificates.context(), users=USERS) as doors:
        found = options(folder, doors.servers, 3.0, **as_ada(mechanism, WRONG))
        with pytest.raises(errors.EventLogError, match="Authentication failed") as asked:
            kafka_topics.look(found)
        with pytest.raises(errors.EventLogError, match="Authentication failed") as appended:
            comes_back(found)
        assert doors.admitted == 0
    assert WRONG not in f"{asked.value}{appended.value}{caplog.text}"


def test_a_broker_whose_certificate_nobody_vouches_for_is_told_as_such(
    cluster: mock.Cluster, certificates: front.Certificates, folder: Path
) -> None:
    with front.Doors(cluster.servers, tls=certificates.context()) as doors:
        found = options(folder, doors.servers, 1.0, tls=True)
        with pytest.raises(errors.EventLogError, match="CERTIFICATE_VERIFY_FAILED"):
            KafkaReader(found, {})


def test_a_certificate_for_another_address_is_refused_unless_the_settings_say_so(
    cluster: mock.Cluster, tmp_path: Path
) -> None:
    elsewhere = front.certificates(tmp_path, "192.0.2.1")
    with front.Doors(cluster.servers, tls=elsewhere.context()) as doors:
        with pytest.raises(errors.EventLogError, match="IP address mismatch"):
            comes_back(options(tmp_path, doors.servers, 1.0, **TLS))
        assert comes_back(options(tmp_path, doors.servers, 20.0, **TLS, tls_check_hostname=False))


def test_a_broker_that_takes_connections_and_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = options(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}", 1.0)
        with pytest.raises(errors.EventLogError, match="Kafka cannot be used") as read:
            KafkaReader(found, {})
        with (
            contextlib.closing(KafkaLog(found)) as log,
            pytest.raises(errors.EventLogError, match="Kafka cannot be used"),
        ):
            log.check()
    # What the client raised: a fresh one may do.
    assert read.value.__cause__ is not None
