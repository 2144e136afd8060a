from __future__ import annotations

import logging
from pathlib import Path

import pytest
from kafka import errors as library

from coppice import errors, settings
from coppice.eventlog import kafka


def test_every_client_is_made_with_an_explicit_version_and_the_security_settings() -> None:
    options = kafka.Options(("k:1",), security={"security_protocol": "SSL"}, deadline_seconds=60.0)

    made = options.connection()

    assert made["api_version"] == (2, 3)
    assert made["security_protocol"] == "SSL"
    # No request may take longer than 10 s, however long the deadline is.
    assert made["request_timeout_ms"] == 10_000


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


class TestBrake:
    def test_a_thread_that_reports_a_failure_is_made_to_wait(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        monkeypatch.setattr(kafka.time, "sleep", waited.append)
        logger = logging.getLogger("tests.brake")
        monkeypatch.setattr(logger, "filters", [kafka._BRAKE])

        logger.warning("nothing was raised")
        assert waited == []
        logger.error("raised in a turn", exc_info=ValueError("again"))
        assert waited == [0.1]
