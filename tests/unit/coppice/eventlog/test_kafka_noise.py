from __future__ import annotations

import logging

import pytest

from coppice.eventlog import kafka_noise

BEFORE = float("-inf")


def told(text: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("kafka.net.manager", level, "", 0, text, None, None)


class TestSecret:
    def test_it_is_sent_as_it_is_and_shown_as_nothing(self) -> None:
        secret = kafka_noise.Secret("hunter2")

        assert secret.encode() == b"hunter2"
        assert "hunter2" not in repr({"sasl_plain_password": secret})


class TestEar:
    # As 3.0.12 writes them.
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("Bootstrap connection to bootstrap-2 failed: no (backoff 0.04 secs)", "no"),
            ("Bootstrap attempt to bootstrap-1 failed: cut (backoff 1.00 secs)", "cut"),
            ("Connection failed: Handshake failed: unknown", "Handshake failed: unknown"),
        ],
    )
    def test_the_reason_is_kept_without_what_the_client_does_next(
        self, text: str, reason: str
    ) -> None:
        ear = kafka_noise.Ear()
        assert ear.filter(told(text))
        assert ear.since(BEFORE) == reason

    @pytest.mark.parametrize(
        "text", ["Bootstrap failed: KafkaTimeoutError", "Bootstrap bootstrap-2 not ready"]
    )
    def test_what_says_nothing_new_is_passed_over(self, text: str) -> None:
        ear = kafka_noise.Ear()
        assert ear.filter(told(text))
        assert ear.since(BEFORE) == ""

    def test_a_broker_that_hangs_up_says_less_than_one_that_refuses(self) -> None:
        ear = kafka_noise.Ear()
        ear.filter(told("Connection failed: socket disconnected"))
        assert ear.since(BEFORE) == "socket disconnected"
        ear.filter(told("Connection failed: Authentication failed"))
        ear.filter(told("Connection failed: Request timed out after 228 ms"))
        assert ear.since(BEFORE) == "Authentication failed"

    def test_a_failure_before_that_time_is_no_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("coppice.eventlog.kafka_noise.time.monotonic", lambda: 7.0)
        ear = kafka_noise.Ear()
        ear.filter(told("Connection failed: no"))
        assert (ear.since(7.0), ear.since(7.1)) == ("no", "")

    def test_the_library_is_listened_to_and_writes_no_requests_into_its_log(self) -> None:
        manager = logging.getLogger("kafka.net.manager")
        assert kafka_noise.EAR in manager.filters
        assert not logging.getLogger("kafka.protocol.parser").isEnabledFor(logging.DEBUG)
        assert manager.isEnabledFor(logging.WARNING)


class TestBrake:
    def test_a_thread_that_reports_a_failure_is_made_to_wait(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        monkeypatch.setattr("coppice.eventlog.kafka_noise.time.sleep", waited.append)
        logger = logging.getLogger("tests.brake")
        monkeypatch.setattr(logger, "filters", [kafka_noise.Brake()])

        logger.warning("nothing was raised")
        assert waited == []
        logger.error("raised in a turn", exc_info=ValueError("again"))
        assert waited == [0.1]
