"""What serves a version and what else was tried, for people: sentences and a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from retrain import packing
from retrain.evaluate import section


def sentences(found: packing.Packing | None) -> Iterator[str]:
    """Say what serves and why, and why nothing else does; nothing where nothing was tried."""
    if found is None or len(found.tried) == 1:
        return
    taken = found.taken
    yield f"served by {taken.name}: {taken.reason}"
    for way in found.tried:
        if not way.taken:
            yield f"not by {way.name}: {way.reason}"


def table(found: packing.Packing) -> section.Table:
    """Put all ways side by side: size, gain by batch, what they cost, and why."""
    sizes = sorted({int(rows) for way in found.tried for rows in way.times})
    gains = tuple(f"times as fast, batch {size}" for size in sizes)
    return section.Table(
        title=(
            f"What may serve it, against full precision on {found.rows:,} validation rows; times "
            f"are {'of the processor' if found.clock == 'cpu' else 'on the wall'}"
        ),
        columns=("way", "taken", "bytes", *gains, "points lost", "differ, %", "why"),
        rows=tuple(_row(way, sizes) for way in found.tried),
    )


def _row(way: packing.Tried, sizes: list[int]) -> tuple[section.Cell, ...]:
    gains = (way.times.get(str(size)) for size in sizes)
    quality = way.quality
    return (
        way.name,
        "yes" if way.taken else "no",
        way.bytes,
        *(None if gain is None else round(gain.gain, 2) for gain in gains),
        None if quality is None else round(100.0 * quality.drop, 2) + 0.0,
        None if quality is None else round(100.0 * quality.disagreement, 2),
        way.reason,
    )
