from __future__ import annotations

import pytest

from coppice import errors
from coppice.eventlog import base, kafka


def test_offsets_come_back_as_they_were() -> None:
    offsets = {"b": {"0": 3, "1": 9}, "a": {"2": 1}}

    assert kafka.decode_position(kafka.encode_position(offsets)) == offsets


def test_the_same_offsets_are_the_same_position() -> None:
    one = kafka.encode_position({"b": {"1": 2, "0": 1}, "a": {"0": 5}})
    other = kafka.encode_position({"a": {"0": 5, "7": 0}, "b": {"0": 1, "1": 2}, "c": {"0": 0}})

    assert one == other == '{"a":{"0":5},"b":{"0":1,"1":2}}'


def test_no_offsets_are_the_start() -> None:
    assert kafka.encode_position({"a": {"0": 0}}) == base.START
    assert kafka.decode_position(base.START) == {}


@pytest.mark.parametrize("position", ["7", "[]", "x", '{"a":1}'])
def test_a_position_of_another_log_is_refused(position: str) -> None:
    with pytest.raises(errors.EventLogError, match="is not a position"):
        kafka.decode_position(position)


def test_every_client_is_made_with_an_explicit_version_and_the_security_settings() -> None:
    options = kafka.Options(("k:1",), security={"security_protocol": "SSL"}, deadline_seconds=60.0)

    made = options.connection()

    assert made["api_version"] == (2, 3)
    assert made["security_protocol"] == "SSL"
    # No request may take longer than 10 s, however long the deadline is.
    assert made["request_timeout_ms"] == 10_000
