"""Events as people read them: the newest ones, counts by kind, and records as plain JSON values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec

from coppice import clock, errors, records
from coppice.eventlog import base

CHUNK = 1000
"""Events per read; bounds memory."""
SHOWN_VALUES = 4
"""Numbers of a tensor that are shown."""

KINDS = {name.split(".")[1]: kind for name, kind in records.TYPES.items()}
"""Kinds of record by the word that the command line uses: `verdict`, `rollout`, ..."""


@dataclasses.dataclass(frozen=True)
class Count:
    """How many events of one type a log holds, and when the first and the last were written."""

    type: str
    events: int
    first: float
    last: float


def kind_of(word: str) -> type[records.Record]:
    """Return the kind of record that a word names.

    >>> kind_of("verdict").__name__
    'Verdict'

    Raises
    ------
    EventLogError
        There is no such kind; the message lists the known ones.
    """
    if word not in KINDS:
        message = f"there is no kind of event {word!r}; known: {', '.join(sorted(KINDS))}"
        raise errors.EventLogError(message)
    return KINDS[word]


def newest(log: base.IndexedLog, limit: int, kind: type[records.Record] | None) -> base.Batch:
    """Return the newest events of a kind (or of any), oldest first, and the log's end."""
    # The end first: an event that is committed in between is shown once now, never left out.
    end = log.end()
    return base.Batch(log.newest(limit, kind), end)


def follow(
    log: base.EventLog, after: base.Position, kind: type[records.Record] | None, clock: clock.Clock
) -> Iterator[records.Event]:
    """Yield events of a kind as they are committed, for ever."""
    position = after
    while True:
        batch = log.read(position)
        position = batch.position
        yield from (event for event in batch.events if _is(event, kind))
        if not batch.events:
            clock.sleep(0.2)


def counts(log: base.Readable) -> list[Count]:
    """Read the whole log and count its events by type."""
    found: dict[str, Count] = {}
    position = base.START
    while (batch := log.read(position, CHUNK)).position != position:
        position = batch.position
        for event in batch.events:
            old = found.get(event.type, Count(event.type, 0, event.time, event.time))
            found[event.type] = Count(
                event.type,
                old.events + 1,
                min(old.first, event.time),
                max(old.last, event.time),
            )
    return sorted(found.values(), key=lambda count: count.type)


def plain(event: records.Event) -> dict[str, Any]:
    """Return an event as JSON values, its tensors abbreviated to their first numbers."""
    envelope = {
        "time": clock.rfc3339(event.time),
        "type": event.type,
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
    }
    try:
        record = records.unseal(event)
    except errors.UndecodableEvent as problem:
        return {**envelope, "problem": str(problem)}
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return {**envelope, "record": _plain(fields)}


def _plain(value: Any) -> Any:
    match value:
        case records.Tensor():
            first = value.array().ravel()[:SHOWN_VALUES].tolist()
            return {"dtype": value.dtype, "shape": list(value.shape), "first": first}
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return msgspec.to_builtins(value)


def _is(event: records.Event, kind: type[records.Record] | None) -> bool:
    return kind is None or records.TYPES.get(event.type) is kind
