from __future__ import annotations

import pytest

from coppice import errors, records
from coppice.eventlog import envelope
from tests.support import events


def test_an_event_comes_back_as_it_was() -> None:
    event = events.prediction()

    assert envelope.event(envelope.headers(event), event.data) == event


def test_the_attributes_are_those_of_cloudevents_in_binary_mode() -> None:
    headers = dict(envelope.headers(events.feedback("r1")))

    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"coppice.feedback.v1"
    assert headers["ce_subject"] == b"r1"
    assert headers["ce_time"] == b"2023-11-14T22:13:20.000Z"
    assert headers["content-type"] == b"application/msgpack"


def test_the_key_is_model_and_request() -> None:
    assert envelope.key(events.feedback("r1")) == b"digits/r1"
    assert envelope.key(events.prediction("r1")) == b"digits/r1"


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_source", "ce_epoch", "ce_model"])
def test_a_missing_attribute_is_named(name: str) -> None:
    headers = [pair for pair in envelope.headers(events.command()) if pair[0] != name]

    with pytest.raises(errors.UndecodableEvent, match=f"the header {name} is missing"):
        envelope.event(headers, b"")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_epoch", b"soon"),
        # SQLite stores no such number, and no calendar knows the others.
        ("ce_epoch", b"nan"),
        ("ce_epoch", b"inf"),
        ("ce_epoch", b"-1.0"),
        ("ce_epoch", b"253402300800.0"),
        ("ce_id", b"\xff"),
        ("ce_id", b""),
    ],
)
def test_an_attribute_that_cannot_be_read_is_a_reason(name: str, value: bytes) -> None:
    headers = [*envelope.headers(events.command()), (name, value)]

    with pytest.raises(errors.UndecodableEvent, match="cannot be read"):
        envelope.event(headers, b"")


def test_the_last_second_of_the_calendar_is_a_time() -> None:
    headers = [*envelope.headers(events.command()), ("ce_epoch", b"253402300799.0")]

    event = envelope.event(headers, b"")

    assert dict(envelope.headers(event))["ce_time"] == b"9999-12-31T23:59:59.000Z"


def test_an_unknown_type_has_a_topic_too() -> None:
    assert envelope.topic("coppice.future.v9", "eu.") == "eu.coppice.unknown.v1"


def test_every_kind_of_event_has_its_topic() -> None:
    assert set(records.TYPES) | {envelope.UNKNOWN_TOPIC} == set(envelope.topics())
