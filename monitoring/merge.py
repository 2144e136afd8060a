"""Brings the topics of one partition into one order, whatever the order of their arrival (pure).

Predictions, shadows and labels of a request lie in the same partition of different topics, and
nothing orders the topics among each other: a reader that catches up may get all labels first. Here
each topic keeps its own order, and of the topics' next events the one with the earliest time goes
first. Where a topic has nothing to offer it is waited for, unless it is known to be read to its
end and `grace` seconds have passed. So the same records give the same order, each time they are
read, as long as none takes longer than `grace` from its event to its topic.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from coppice import records


class Sourced(NamedTuple):
    """An event and the place that it was read from."""

    topic: int
    """Index among the topics that are merged."""
    offset: int
    event: records.Event | None
    """`None` where the record holds none; it takes its turn, so that its offset is passed."""
    time: float
    """Of the event; of what is none, that of the record."""


class Merge:
    """Merge the topics of one partition.

    Parameters
    ----------
    topics
        How many there are.
    grace
        Seconds from an event to its arrival that are waited for.
    """

    def __init__(self, topics: int, grace: float) -> None:
        self._queues = [collections.deque[Sourced]() for _ in range(topics)]
        self._grace = grace
        self._through = -math.inf

    def add(self, found: Sourced) -> None:
        """Take in the next record of a topic."""
        self._queues[found.topic].append(found)

    def waiting(self) -> int:
        """Return how many records wait for their turn."""
        return sum(map(len, self._queues))

    def ready(self, now: float, at_end: Callable[[int], bool]) -> Iterator[Sourced]:
        """Give what may go, in order.

        Parameters
        ----------
        now
            Seconds since 1970 UTC.
        at_end
            Whether a topic has no further records for the time being.
        """
        ends = [at_end(topic) for topic in range(len(self._queues))]
        while (first := self._next(now, ends)) is not None:
            self._through = max(self._through, first.time)
            yield self._queues[first.topic].popleft()

    def watermark(self, now: float, at_end: Callable[[int], bool]) -> float:
        """Return the time before which nothing is expected any more; it never goes back.

        Parameters
        ----------
        now, at_end
            As for `ready`, which has been exhausted.
        """
        heads = [queue[0].time for queue in self._queues if queue]
        empty = [topic for topic, queue in enumerate(self._queues) if not queue]
        if all(map(at_end, empty)):
            soonest = min(heads, default=math.inf)
            expected = min(soonest, now - self._grace) if empty else soonest
            self._through = max(self._through, expected)
        return self._through

    def _next(self, now: float, ends: Sequence[bool]) -> Sourced | None:
        heads = [queue[0] for queue in self._queues if queue]
        if not heads:
            return None
        first = min(heads, key=lambda head: (head.time, head.topic))
        empty = [topic for topic, queue in enumerate(self._queues) if not queue]
        if not empty:
            return first
        overdue = first.time <= now - self._grace
        return first if overdue and all(ends[topic] for topic in empty) else None
