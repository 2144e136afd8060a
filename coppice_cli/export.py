"""The event log as files for other programs: JSON lines, or Parquet; always chunk by chunk.

Parquet has one row per event, the envelope in columns, the record as one column of JSON, because
the kinds of record have no columns in common.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import msgspec

from coppice import clock, columnar, errors, records
from coppice.eventlog import base

CHUNK = 1000
"""Events in memory at once, and rows of a Parquet row group."""

COLUMNS = ("time", "type", "id", "source", "subject", "model", "record", "problem")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which events are meant; by default all."""

    kind: type[records.Record] | None = None
    since: float = float("-inf")
    """Seconds since 1970 UTC; events of that very moment are included."""
    until: float = float("inf")
    """Seconds since 1970 UTC; events of that very moment are not included."""

    def has(self, event: records.Event) -> bool:
        """Say whether an event is one of them."""
        if not self.since <= event.time < self.until:
            return False
        return self.kind is None or records.TYPES.get(event.type) is self.kind


def chunks(log: base.Readable, wanted: Wanted) -> Iterator[list[records.Event]]:
    """Yield the wanted events in log order, up to the log's end as it is now."""
    end, position = log.end(), base.START
    while position != end and (batch := log.read(position, CHUNK)).position != position:
        position = batch.position
        found = [event for event in batch.events if wanted.has(event)]
        if found:
            yield found


def row(event: records.Event) -> dict[str, Any]:
    """Return an event as JSON values, tensors whole, as nested lists.

    A record that does not decode has `record` null and the reason in `problem`.
    """
    envelope: dict[str, Any] = {
        "time": clock.rfc3339(event.time),
        "type": event.type,
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
        "model": event.model,
    }
    try:
        record = records.unseal(event)
    except errors.UndecodableEvent as problem:
        return {**envelope, "record": None, "problem": str(problem)}
    fields = {name: _whole(getattr(record, name)) for name in record.__struct_fields__}
    return {**envelope, "record": fields, "problem": None}


def json_lines(found: Iterable[list[records.Event]], out: TextIO) -> int:
    """Write one JSON object per line, and return how many there were."""
    written = 0
    for chunk in found:
        out.writelines(msgspec.json.encode(row(event)).decode() + "\n" for event in chunk)
        written += len(chunk)
    return written


def parquet(found: Iterable[list[records.Event]], path: Path) -> int:
    """Write a Parquet file, and return the number of its rows.

    Raises
    ------
    EnvironmentProblem
        pyarrow is not installed.
    """
    written = 0
    with columnar.text_writer(path, COLUMNS) as write:
        for chunk in found:
            rows = [_flat(event) for event in chunk]
            write({name: [one[name] for one in rows] for name in COLUMNS})
            written += len(chunk)
    return written


def copy(found: Iterable[list[records.Event]], target: base.EventLog) -> int:
    """Append events to another log, ids kept, so that a repetition changes nothing."""
    copied = 0
    for chunk in found:
        target.append(chunk)
        copied += len(chunk)
    return copied


def _flat(event: records.Event) -> dict[str, Any]:
    whole = row(event)
    record = whole["record"]
    return {**whole, "record": None if record is None else msgspec.json.encode(record).decode()}


def _whole(value: Any) -> Any:
    match value:
        case records.Tensor():
            values = value.array().tolist()
            return {"dtype": value.dtype, "shape": list(value.shape), "values": values}
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case _:
            return msgspec.to_builtins(value)
