"""What one run of a contestant gave, and the figures that several runs give together."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

COLUMNS = ("events/s", "p50 ms", "p99 ms", "CPU us/event")
"""What `figures` gives."""


class Sample(NamedTuple):
    """One run.

    Attributes
    ----------
    events
        How many were handled.
    wall, cpu
        Seconds they took, by the clock and of the processor.
    waits
        Seconds of each commit, append or read.
    """

    events: int
    wall: float
    cpu: float
    waits: tuple[float, ...]


def timed(
    make: Callable[[], list[Any]],
    take: Callable[[list[Any]], None],
    seconds: float,
) -> Sample:
    """Make batches and hand them over for a while; making them is not counted."""
    waits: list[float] = []
    cpu = wall = 0.0
    events = 0
    while wall < seconds:
        made = make()
        busy, began = time.process_time(), time.perf_counter()
        take(made)
        waits.append(time.perf_counter() - began)
        cpu += time.process_time() - busy
        wall += waits[-1]
        events += len(made)
    return Sample(events, wall, cpu, tuple(waits))


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """Medians over the runs; percentiles over the waits of all of them.

    >>> figures([Sample(100, 0.5, 0.001, (0.001, 0.003, 0.002))])
    {'events/s': 200, 'p50 ms': 2.0, 'p99 ms': 3.0, 'CPU us/event': 10.0}
    """
    waits = sorted(wait for sample in samples for wait in sample.waits)
    return {
        "events/s": round(statistics.median(one.events / one.wall for one in samples)),
        "p50 ms": milliseconds(waits, 0.5),
        "p99 ms": milliseconds(waits, 0.99),
        "CPU us/event": round(1e6 * statistics.median(one.cpu / one.events for one in samples), 1),
    }


def milliseconds(waits: Sequence[float], share: float) -> float:
    """A percentile of sorted seconds, in milliseconds.

    >>> milliseconds([0.001, 0.002, 0.003], 0.5)
    2.0
    """
    return round(1000 * waits[min(len(waits) - 1, int(share * len(waits)))], 3)


def with_ratio(rows: Sequence[dict[str, Any]], column: str, to: str) -> list[dict[str, Any]]:
    """Add the ratio of a column to the row named by its column `contestant`.

    >>> with_ratio([{"contestant": "a", "x": 2}, {"contestant": "b", "x": 5}], "x", to="a")[1]
    {'contestant': 'b', 'x': 5, 'ratio': 2.5}
    """
    base = next(row[column] for row in rows if row["contestant"] == to)
    return [{**row, "ratio": round(row[column] / base, 2)} for row in rows]
