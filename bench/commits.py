"""Contestants that store events durably: the SQLite log at three levels, and plain files as bounds.

A file knows no order between processes, no look-ups and no passing over of repeated events; it says
what the disk can do, not what else could be used.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from samples import Sample, timed

from coppice import records
from coppice.eventlog.sqlite import SqliteLog

Append: TypeAlias = Callable[[list[records.Event]], None]

POLICIES = ("OFF", "NORMAL", "FULL", "file, flush", "file, fdatasync")
BATCHES = (1, 8, 32, 128)
SIZES = (1024, 8192)


class Commit(NamedTuple):
    """A contestant: how durable, how many events a commit, payload bytes of each."""

    policy: str
    batch: int
    size: int

    @property
    def name(self) -> str:
        """As the table names it."""
        return f"{self.policy}, {self.batch} a commit"


def contestants(*, quick: bool) -> list[Commit]:
    """Every combination, or one of each policy."""
    batches, sizes = ((8,), (1024,)) if quick else (BATCHES, SIZES)
    return [Commit(*one) for one in ((p, b, s) for s in sizes for p in POLICIES for b in batches)]


def measure(contestant: Commit, folder: Path, seconds: float) -> Sample:
    """Commit to a fresh file for a while; making the events is not counted."""
    path = folder / "commits"
    data = os.urandom(contestant.size)
    with _opened(contestant.policy, path) as append:
        sample = timed(
            lambda: [_event(data, records.uuid7()) for _ in range(contestant.batch)],
            append,
            seconds,
        )
    for left in folder.glob("commits*"):
        left.unlink()
    return sample


IDS: dict[str, Callable[[], str]] = {
    "ids in order of time (UUID 7, ours)": records.uuid7,
    "ids by chance (UUID 4)": lambda: str(uuid.uuid4()),
}
"""How request ids may be made; a client that sends ids of its own decides it."""
GROWN_BATCH, GROWN_SIZE = 128, 1024


class Grown:
    """A log that holds many events already, whose request ids were made in one way.

    The index by request lies all over the file then, if they were made by chance.
    """

    def __init__(self, make: Callable[[], str], path: Path, events: int) -> None:
        self._make = make
        self._data = os.urandom(GROWN_SIZE)
        self._log = SqliteLog(path)
        for _ in range(0, events, GROWN_BATCH):
            self._log.append(self._batch())

    def measure(self, seconds: float) -> Sample:
        """Commit more for a while."""
        return timed(self._batch, self._log.append, seconds)

    def close(self) -> None:
        """Let go of the file."""
        self._log.close()

    def _batch(self) -> list[records.Event]:
        return [_event(self._data, self._make()) for _ in range(GROWN_BATCH)]


def _event(data: bytes, name: str) -> records.Event:
    return records.Event(
        records.uuid7(),
        "coppice.prediction.v1",
        "coppice/server",
        time.time(),
        name,
        "digits",
        data,
    )


@contextmanager
def _opened(policy: str, path: Path) -> Iterator[Append]:
    if policy.startswith("file"):
        with path.open("ab") as stream:
            yield lambda events: _to_file(stream, events, sync=policy == "file, fdatasync")
        return
    log = SqliteLog(path, durability="power-loss" if policy == "FULL" else "process")
    if policy == "OFF":
        # A bound only: no setting asks for it, because a power cut could break the file.
        log._writer.execute("PRAGMA synchronous = OFF")  # noqa: SLF001 - see above
    try:
        yield log.append
    finally:
        log.close()


def _to_file(stream: BinaryIO, events: list[records.Event], *, sync: bool) -> None:
    stream.write(b"".join(event.id.encode() + event.data for event in events))
    stream.flush()
    if sync:
        os.fdatasync(stream.fileno())
