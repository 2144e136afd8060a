from __future__ import annotations

import contextlib
import types
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from kafka import errors as library
from kafka import structs

from coppice import errors, settings
from coppice.eventlog import kafka


def test_every_client_is_made_with_an_explicit_version_and_the_security_settings() -> None:
    options = kafka.Options(("k:1",), security={"security_protocol": "SSL"}, deadline_seconds=60.0)

    made = options.connection()

    assert made["api_version"] == (2, 3)
    assert made["security_protocol"] == "SSL"
    # No request may take longer than 10 s, however long the deadline is.
    assert made["request_timeout_ms"] == 10_000


def test_every_producer_waits_for_all_copies_and_lets_no_request_overtake_another() -> None:
    # With acks=1 a broker's death loses what it acknowledged; mock brokers cannot show that.
    with contextlib.closing(kafka.open_producer(kafka.Options(("k:1",)))) as producer:
        found = {name: producer.config[name] for name in DURABLE}

    assert found == DURABLE


DURABLE = {
    "acks": -1,  # as the library writes "all"
    "enable_idempotence": True,
    "max_in_flight_requests_per_connection": 1,
    "allow_auto_create_topics": False,
}


def options(**table: object) -> kafka.Options:
    tree = {"project": {"name": "digits"}, "kafka": {"servers": "a:1,b:2", **table}}
    return kafka.Options.of(settings.from_tree(tree, root=Path("/somewhere")))


SASL = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "ada", "sasl_password": "hunter2"}


class TestOptions:
    def test_they_come_from_the_settings(self) -> None:
        found = options(prefix="eu.", api_version="2.5.1", deadline_seconds=7, client_id="x")

        assert found == kafka.Options(
            ("a:1", "b:2"),
            prefix="eu.",
            api_version=(2, 5, 1),
            deadline_seconds=7.0,
            client_id="x",
            security={"security_protocol": "PLAINTEXT"},
        )

    def test_files_of_tls_lie_beside_the_settings(self) -> None:
        found = options(
            tls=True, tls_ca_file="ca.pem", tls_cert_file="/own.pem", tls_key_file="own.key"
        )

        assert found.security == {
            "security_protocol": "SSL",
            "ssl_check_hostname": True,
            "ssl_cafile": "/somewhere/ca.pem",
            "ssl_certfile": "/own.pem",
            "ssl_keyfile": "/somewhere/own.key",
        }

    @pytest.mark.parametrize(
        ("table", "protocol"), [({"tls": True}, "SASL_SSL"), ({}, "SASL_PLAINTEXT")]
    )
    def test_sasl_goes_over_what_there_is(self, table: dict[str, object], protocol: str) -> None:
        made = options(**table, **SASL).connection()

        assert made["security_protocol"] == protocol
        assert made["sasl_mechanism"] == "SCRAM-SHA-512"
        assert (made["sasl_plain_username"], made["sasl_plain_password"]) == ("ada", "hunter2")

    def test_they_do_not_print_the_password(self) -> None:
        assert "hunter2" not in f"{options(**SASL)} {options(**SASL)!r}"


class TestRefusals:
    @pytest.mark.parametrize(
        "cause", [library.MessageSizeTooLargeError(), library.RecordListTooLargeError()]
    )
    def test_an_event_that_is_too_large_is_told_from_a_cluster_in_trouble(
        self, cause: Exception
    ) -> None:
        with pytest.raises(errors.EventTooLarge), kafka.wrapped():
            raise cause

    def test_a_cluster_in_trouble_is_named(self) -> None:
        with pytest.raises(errors.EventLogError, match="Kafka cannot be used") as caught:
            refuse()
        assert not isinstance(caught.value, errors.EventTooLarge)


def refuse() -> None:
    with kafka.wrapped():
        raise library.NotEnoughReplicasError


PART = structs.TopicPartition("coppice.command.v1", 0)


class Consumer:
    """A client of one partition that ends at 9, and of which retention has left nothing."""

    def __init__(self) -> None:
        self.place: int | None = None

    def end_offsets(self, parts: Collection[Any]) -> dict[Any, int]:
        return dict.fromkeys(parts, 9)

    def assign(self, parts: Collection[Any]) -> None:
        assert list(parts) == [PART]

    def seek(self, part: Any, offset: int) -> None:
        assert (part, offset) == (PART, 0)

    def position(self, part: Any, timeout_ms: int) -> int | None:
        # Who gives no time waits for ever in 3.0.12.
        assert (part, timeout_ms) == (PART, 200)
        return self.place

    def poll(self, timeout_ms: int, max_records: int) -> dict[Any, Any]:
        assert (timeout_ms, max_records) == (200, 1000)
        self.place = 9
        return {}

    def close(self) -> None:
        self.place = None


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> Iterator[kafka.KafkaLog]:
    producer = types.SimpleNamespace(close=lambda timeout: timeout)
    monkeypatch.setattr(kafka, "open_producer", lambda _: producer)
    monkeypatch.setattr("kafka.KafkaConsumer", lambda **_: Consumer())
    with contextlib.closing(kafka.KafkaLog(kafka.Options(("k:1",)))) as log:
        log._parts = [PART]
        yield log


def test_a_partition_that_retention_emptied_is_read_to_its_end(emptied: kafka.KafkaLog) -> None:
    batch = emptied.read("")

    assert batch.events == []
    # Whoever reads up to the end gets there, and does not ask for ever.
    assert batch.position == emptied.end() == '{"coppice.command.v1":{"0":9}}'


def test_a_place_that_the_brokers_have_yet_to_tell_never_moves_a_reader_back(
    emptied: kafka.KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = '{"coppice.command.v1":{"0":5}}'
    monkeypatch.setattr(emptied._consumer, "seek", lambda *_: None)
    # What it answers where it cannot tell in time.
    monkeypatch.setattr(emptied, "_poll", lambda *_: iter(()))

    assert emptied.read(after).position == after


def test_partitions_whose_leader_the_client_forgot_are_asked_for_anew(
    emptied: kafka.KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As 3.0.12 does where a topic is not assigned, and its metadata was refreshed meanwhile.
    answers = mock.Mock(side_effect=[KeyError(PART), {PART: 9}])
    monkeypatch.setattr(emptied._consumer, "end_offsets", answers)
    monkeypatch.setattr(kafka, "partitions_of", lambda *_: {PART.topic: {0}})

    assert emptied.end() == '{"coppice.command.v1":{"0":9}}'


def test_partitions_that_nobody_leads_by_the_deadline_are_an_error(
    emptied: kafka.KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptied, "_options", emptied._options._replace(deadline_seconds=-1.0))
    monkeypatch.setattr(emptied._consumer, "end_offsets", mock.Mock(side_effect=KeyError(PART)))

    with pytest.raises(errors.EventLogError, match=r"nobody says who leads .*command\.v1"):
        emptied.end()


def test_partitions_are_asked_for_twice_where_something_else_was_asked_before() -> None:
    asked: list[tuple[bool, int]] = []
    cluster = types.SimpleNamespace(
        need_all_topic_metadata=False,
        metadata_refresh_in_progress=True,
        request_update=lambda: "future",
        topics=lambda: {"a", "b"},
        partitions_for_topic={"a": {0, 1}, "b": None}.get,
    )

    def run(wait_for: Any, future: str, milliseconds: int) -> None:
        assert (wait_for, future) == (print, "future")
        asked.append((cluster.need_all_topic_metadata, milliseconds))

    consumer = types.SimpleNamespace(
        _cluster=cluster,
        _net=types.SimpleNamespace(run=run),
        _manager=types.SimpleNamespace(wait_for=print),
    )
    found = kafka.partitions_of(consumer, kafka.Options(("k:1",), deadline_seconds=2.0))

    assert found == {"a": {0, 1}, "b": set()}
    assert [everything for everything, _ in asked] == [True, True]
    assert 0 < asked[1][1] <= asked[0][1] <= 2000
    # What the client asks for by itself after that is as much as before.
    assert cluster.need_all_topic_metadata is False
