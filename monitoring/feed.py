"""Where a member of a group gets its records from, and whither its facts go.

Two implementations: Kafka (`coppice.eventlog.kafka_group`), and one in memory for tests. The
partitions of all topics are shared out alike: who has partition 3 of one topic has it of all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from coppice import records
from coppice.eventlog import envelope

KINDS: tuple[str, ...] = tuple(
    records.NAMES[kind]
    for kind in (
        records.Rollout,
        records.Verdict,
        records.Prediction,
        records.Shadow,
        records.Feedback,
    )
)
"""The topics that a member reads; of events of the same time, the earlier topic's goes first."""

Failed: TypeAlias = Callable[[Exception], None]
"""Is told of what was raised where the next event or turn may do."""
Place: TypeAlias = tuple[str, int]
"""A topic (without the prefix) and a partition of it."""


class Owner(Protocol):
    """Who is told what is shared out to it."""

    def assigned(self, places: Collection[Place]) -> Mapping[Place, int]:
        """Take over places, all that are held from now on; return the offsets to read from."""
        ...

    def revoked(self) -> None:
        """Hand everything over that is held, while it is still held."""
        ...


class Feed(Protocol):
    """Records in, facts out; for one thread."""

    def partitions(self) -> int:
        """Return how many partitions each of the topics has."""
        ...

    def join(self, owner: Owner) -> None:
        """Become a member; the owner is told during `poll` what it holds."""
        ...

    def poll(self, seconds: float) -> Sequence[envelope.Letter]:
        """Return new records of the places that are held, waiting a little where there are none."""
        ...

    def at_end(self, place: Place) -> bool:
        """Say whether all records of a place that is held were returned, as far as is known."""
        ...

    def send(self, batches: Sequence[bytes]) -> None:
        """Write to the topic of facts, and wait until all of it is acknowledged."""
        ...
