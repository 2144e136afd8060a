"""What serves a pruned model, and why: the values of the card and the rule that decides. Pure.

The plain graph on the first engine is taken unless something else is as good and faster: it keeps
its score on the validation split, and the whole interval of its gain lies above the least one that
is asked for. `choosing` measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from coppice import artifact, runtime, settings
from retrain import timing
from retrain.evaluate import latency, paired


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One way to serve the model, what was measured of it, and what became of it."""

    engine: artifact.Engine
    precision: artifact.Precision
    bytes: int | None = None
    """Size of its graph; `None` where there is none."""
    quality: paired.Comparison | None = None
    """Its answers to the validation split against those of full precision on the first engine."""
    times: dict[str, latency.Latency] = {}
    """By rows in a batch: against full precision on the first engine."""
    taken: bool = False
    reason: str = ""
    """Why it was taken or not, as a sentence."""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.engine} {self.precision}"

    def packed(self, graph: Path) -> runtime.Packed:
        """Return a graph with what runs it this way."""
        return runtime.Packed(graph, self.engine, self.precision)


class Packing(msgspec.Struct, frozen=True, kw_only=True):
    """All ways that were tried; exactly one is taken, the first is full precision."""

    asked: str
    """`[pack] precision`."""
    rows: int
    """Rows of the validation split, on which scores were compared."""
    batch_rows: int
    """Rows in the batch whose time decided."""
    threads: int = 1
    clock: timing.Clock = "cpu"
    """What the times are: seconds of the processor, or on the wall."""
    tried: tuple[Tried, ...]

    @property
    def taken(self) -> Tried:
        """The way that serves."""
        return next(each for each in self.tried if each.taken)

    def packed(self, graph: Path) -> runtime.Packed:
        """Return the graph that was left at a place, with what runs it."""
        return self.taken.packed(graph)


def judge(tried: Sequence[Tried], section: settings.PackSettings) -> tuple[Tried, ...]:
    """Take the fastest of those that keep their score and gain enough, or else the first.

    Pure; gives every one its reason.
    """
    first, *others = tried
    problems = [loses(way, section) or _lags(way, section) for way in others]
    good = [way for way, problem in zip(others, problems, strict=True) if not problem]
    best = max(good, key=lambda way: _gain(way, section).gain, default=first)
    judged = [
        msgspec.structs.replace(
            way,
            taken=way is best,
            reason=problem or (_holds(way, section) if way is best else f"{best.name} gains more"),
        )
        for way, problem in zip(others, problems, strict=True)
    ]
    return (
        msgspec.structs.replace(first, taken=best is first, reason=_plain(first, best, others)),
        *judged,
    )


def _plain(first: Tried, best: Tried, others: Sequence[Tried]) -> str:
    if best is not first:
        return f"{best.name} is as good and faster"
    return "nothing else holds" if others else "nothing else was asked for"


def _gain(way: Tried, section: settings.PackSettings) -> latency.Latency:
    return way.times[str(section.batch_rows)]


def loses(way: Tried, section: settings.PackSettings) -> str:
    """Say why a way is not as good as full precision; empty where it is."""
    found = way.quality
    if found is None:
        return way.reason
    if found.drop > section.max_drop:
        return f"{_score(found)}, more than {100.0 * section.max_drop:.2f} points"
    return ""


def _lags(way: Tried, section: settings.PackSettings) -> str:
    """Say why a way is not shown to be faster; empty where it is."""
    if _gain(way, section).low >= section.min_gain:
        return ""
    return f"{_speed(way, section)}, not surely {section.min_gain:.2f} times"


def _holds(way: Tried, section: settings.PackSettings) -> str:
    assert way.quality is not None
    return f"{_speed(way, section)}, and {_score(way.quality)}"


def _speed(way: Tried, section: settings.PackSettings) -> str:
    found = _gain(way, section)
    return (
        f"it is {found.gain:.2f} times as fast at batch {section.batch_rows} (between "
        f"{found.low:.2f} and {found.high:.2f})"
    )


def _score(found: paired.Comparison) -> str:
    """Say what it costs, and how much the rows can tell."""
    return (
        f"it loses {100.0 * found.drop:z.2f} points of score on {found.rows:,} rows "
        f"(between {100.0 * found.low:.2f} and {100.0 * found.high:.2f}), and differs on "
        f"{100.0 * found.disagreement:.2f}%"
    )
