"""What the relay decides, as pure functions: what to send together, how much, how long to wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coppice import records

FIRST = 4
"""Events in the first batch after a start: so few pass even a cluster at its worst."""
MOST = 1024
"""Events in the largest batch; bounds what is repeated after a crash."""
MOST_BYTES = 4 * 2**20
"""Payload of the largest batch, as far as the batch before tells; bounds memory."""

LOOK_SECONDS = 5.0
LOOK_SHARE = 0.01
"""Least pause between two counts of what waits, and the most of the time that counting takes."""

_QUICK, _SLOW = 0.1, 0.5


class Sent(NamedTuple):
    """What became of one batch."""

    events: int
    payload: int
    """Bytes."""
    seconds: float


def waves(events: Sequence[records.Event]) -> list[list[records.Event]]:
    """Cut a batch into parts that may be sent at once, to be sent one after another.

    No part has two events of one kind about one request. Where a part is acknowledged only in parts
    and then repeated, nothing in it can have overtaken what must come before it.

    >>> def event(n, subject):
    ...     return records.Event(n, "coppice.feedback.v1", "docs", 0.0, subject, "digits", b"")
    >>> [[e.id for e in w] for w in waves([event("1", "a"), event("2", "b"), event("3", "a")])]
    [['1', '2'], ['3']]
    """
    parts: list[list[records.Event]] = []
    depth: dict[tuple[str, str, str], int] = {}
    for event in events:
        key = (event.type, event.model, event.subject)
        place = depth.get(key, 0)
        depth[key] = place + 1
        if place == len(parts):
            parts.append([])
        parts[place].append(event)
    return parts


def next_size(size: int, sent: Sent, deadline_seconds: float) -> int:
    """Return how many events the next batch shall have.

    Twice as many while a batch takes less than a tenth of the deadline, half as many once it takes
    more than half of it, and never more than fit into `MOST_BYTES` at their mean size.

    >>> next_size(64, Sent(64, 6_400, 0.2), 30.0), next_size(64, Sent(64, 6_400, 20.0), 30.0)
    (128, 32)
    >>> next_size(64, Sent(64, 64 * 2**20, 0.2), 30.0)  # a megabyte each
    4
    """
    if sent.seconds > _SLOW * deadline_seconds:
        size //= 2
    elif sent.seconds < _QUICK * deadline_seconds and sent.events >= size:
        size *= 2
    fitting = MOST if not sent.payload else MOST_BYTES * sent.events // sent.payload
    return max(1, min(size, fitting, MOST))


def look_pause(seconds: float) -> float:
    """Return how long after a count, which took so long, the backlog is counted again.

    >>> look_pause(0.001), look_pause(0.2)
    (5.0, 20.0)
    """
    return max(LOOK_SECONDS, seconds / LOOK_SHARE)
