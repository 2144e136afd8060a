"""The event log in Kafka, as the commands that look at it read it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from coppice import errors, records
from coppice.eventlog import base, kafka, offsets

if TYPE_CHECKING:
    from coppice import settings


class Snapshot:
    """A log in Kafka up to its end as it was at first, so that whoever reads it all gets done.

    Parameters
    ----------
    log
        The log.
    """

    def __init__(self, log: base.Readable) -> None:
        self._log = log
        self._end = log.end()

    def read(self, after: base.Position, limit: int = 1000) -> base.Batch:
        """Return at most `limit` events behind a position, and none behind the end."""
        if offsets.reaches(after, self._end):
            return base.Batch([], after)
        return self._log.read(after, limit)

    def end(self) -> base.Position:
        """Return where it ended."""
        return self._end


@contextlib.contextmanager
def opened(tree: settings.Settings) -> Iterator[kafka.KafkaLog]:
    """Open the log in the cluster that the settings name, for the length of a `with` block.

    Raises
    ------
    SettingsError
        They name none.
    """
    if not tree.kafka.servers:
        message = "kafka.servers is empty; name the brokers in [kafka]"
        raise errors.SettingsError(message)
    log = kafka.KafkaLog(kafka.Options.of(tree), dead_letters=False)
    try:
        log.check()
        yield log
    finally:
        log.close()


def newest(log: base.Readable, limit: int, kind: type[records.Record] | None) -> base.Batch:
    """Return the newest events of a kind (or of any), each once, oldest first, and the log's end.

    Kafka keeps no order between partitions, so the end of each is read, and sorted by time.
    """
    snapshot = Snapshot(log)
    position, found = offsets.rewound(snapshot.end(), limit), dict[str, records.Event]()
    while not offsets.reaches(position, snapshot.end()):
        batch = snapshot.read(position)
        position = batch.position
        for event in batch.events:
            if kind is None or records.TYPES.get(event.type) is kind:
                found.setdefault(event.id, event)
    ordered = sorted(found.values(), key=lambda event: event.time)
    return base.Batch(ordered[-limit:], position)
