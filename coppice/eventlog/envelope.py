"""An event as a Kafka record: CloudEvents 1.0 in binary mode.

The payload is the record's value as it is; the attributes are headers. `ce_model` and `ce_epoch`
(the time as an exact number, which RFC 3339 to the millisecond is not) are extensions.

References
----------
CloudEvents, Kafka Protocol Binding 1.0.2, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from coppice import clock, errors, records

Headers: TypeAlias = list[tuple[str, bytes]]

CONTENT_TYPE = "application/msgpack"
UNKNOWN_TOPIC = "coppice.unknown.v1"
FACTS = "coppice.fact.v1"
"""Topic of what monitors that share their work tell each other; it holds no events."""
LAST_MOMENT = 253_402_300_800.0
"""Where the year 9999 ends, seconds since 1970 UTC: no clock tells a later time."""
DEAD = ".dlq"
"""Behind a topic's name: where what cannot be decoded goes, with the reason."""


class Letter(NamedTuple):
    """A record as it lies in Kafka.

    Attributes
    ----------
    timestamp
        Milliseconds since 1970 UTC.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def topic(kind: str, prefix: str = "") -> str:
    """Return the topic of an event type; types that this version does not know share one.

    >>> topic("coppice.verdict.v1", "eu."), topic("x")
    ('eu.coppice.verdict.v1', 'coppice.unknown.v1')
    """
    return prefix + (kind if kind in records.TYPES else UNKNOWN_TOPIC)


def topics(prefix: str = "") -> list[str]:
    """Return every topic that events are written to, sorted."""
    return sorted(prefix + name for name in (*records.TYPES, UNKNOWN_TOPIC))


def all_topics(prefix: str = "") -> list[str]:
    """Return every topic, those of the dead letters and the one of facts too, sorted."""
    names = topics(prefix)
    return sorted([prefix + FACTS, *names, *(name + DEAD for name in names)])


def key(event: records.Event) -> bytes:
    """Return the key: all events about one request of one model share a partition."""
    return f"{event.model}/{event.subject}".encode()


def headers(event: records.Event) -> Headers:
    """Return the attributes as headers."""
    attributes = {
        "content-type": CONTENT_TYPE,
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_type": event.type,
        "ce_source": event.source,
        "ce_time": clock.rfc3339(event.time),
        "ce_epoch": repr(event.time),
        "ce_subject": event.subject,
        "ce_model": event.model,
    }
    return [(name, value.encode()) for name, value in attributes.items()]


def event(found: Iterable[tuple[str, bytes]], value: bytes | None) -> records.Event:
    """Return the event that a Kafka record holds.

    Raises
    ------
    UndecodableEvent
        An attribute is missing or is not what it must be; the message is the reason.
    """
    try:
        by_name = {name: content.decode() for name, content in found}
        return records.Event(
            id=_id(by_name["ce_id"]),
            type=by_name["ce_type"],
            source=by_name["ce_source"],
            time=_time(by_name["ce_epoch"]),
            subject=by_name["ce_subject"],
            model=by_name["ce_model"],
            data=value or b"",
        )
    except KeyError as cause:
        message = f"the header {cause.args[0]} is missing"
        raise errors.UndecodableEvent(message) from cause
    except (ValueError, AttributeError) as cause:
        message = f"a header cannot be read: {cause}"
        raise errors.UndecodableEvent(message) from cause


def _id(text: str) -> str:
    if not text:
        message = "ce_id is empty"
        raise ValueError(message)
    return text


def _time(text: str) -> float:
    """Read a time; no log stores what is not a number, and no calendar knows what is endless."""
    seconds = float(text)
    if not 0.0 <= seconds < LAST_MOMENT:
        message = f"ce_epoch {text!r} is no time"
        raise ValueError(message)
    return seconds
