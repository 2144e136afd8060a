"""Positions in a Kafka log: an offset for each partition of each topic, as one text."""

from __future__ import annotations

import contextlib
import json
from typing import TypeAlias

from coppice import errors
from coppice.eventlog import base

Offsets: TypeAlias = dict[str, dict[str, int]]
"""By topic and partition, the offset behind the last record that was read."""


def decode(position: base.Position) -> Offsets:
    """Return the offsets that a position stands for.

    >>> decode('{"coppice.verdict.v1":{"0":3}}')
    {'coppice.verdict.v1': {'0': 3}}

    Raises
    ------
    EventLogError
        No Kafka log gave out that position.
    """
    if position == base.START:
        return {}
    with contextlib.suppress(ValueError):
        found = json.loads(position)
        if isinstance(found, dict) and all(isinstance(part, dict) for part in found.values()):
            return found
    message = f"{position!r} is not a position in a Kafka log; begin again at the start"
    raise errors.EventLogError(message)


def encode(offsets: Offsets) -> base.Position:
    """Return offsets as a position; partitions without records are left out."""
    kept = {
        topic: {part: at for part, at in sorted(parts.items()) if at}
        for topic, parts in sorted(offsets.items())
        if any(parts.values())
    }
    return json.dumps(kept, separators=(",", ":")) if kept else base.START


def rewound(position: base.Position, count: int) -> base.Position:
    """Return the position so many records before another one, in every partition.

    >>> rewound('{"a":{"0":9,"1":2}}', 4)
    '{"a":{"0":5}}'
    """
    return encode(
        {
            topic: {part: max(0, at - count) for part, at in parts.items()}
            for topic, parts in decode(position).items()
        }
    )


def reaches(position: base.Position, end: base.Position) -> bool:
    """Whether a position lies behind all that lies before another one.

    >>> reaches('{"a":{"0":9}}', '{"a":{"0":8}}'), reaches("", '{"a":{"0":8}}')
    (True, False)
    """
    reached = decode(position)
    return all(
        reached.get(topic, {}).get(part, 0) >= at
        for topic, parts in decode(end).items()
        for part, at in parts.items()
    )
