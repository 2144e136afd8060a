"""What serves a pruned model: which engine, in which precision; chosen by what was measured.

Called by the candidate's flow between export and evaluation, so that everything after it judges
the graph that will serve. Takes the exported graph and data; gives a record of what was tried, and
leaves the graph that was taken where the exported one lay.

The plain graph on the first engine is taken unless something else is as good and faster: it keeps
its score on the validation split, and in a race of processes of their own the whole interval of its
gain lies above the least one that is asked for. `judge` decides; the rest measures.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from coppice import artifact, errors, labels, project, runtime, settings
from retrain import quantize, reference, served, timing
from retrain.evaluate import answers, evaluation, latency, paired

BATCHES = (1, 32)
"""Sizes of batches that are timed besides the one that decides."""


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
        return _packed(self.taken, graph)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for, and how to judge.

    Attributes
    ----------
    section
        `[pack]`.
    rules
        How the project scores, and how sure to be.
    threads
        Threads that one run may use, as when it is served.
    """

    section: settings.PackSettings
    rules: evaluation.Rules
    threads: int = 1

    @property
    def batches(self) -> list[int]:
        """Sizes of batches to be timed."""
        return sorted({*BATCHES, self.section.batch_rows})

    @property
    def clock(self) -> timing.Clock:
        """With one thread the processor's time, which a busy machine leaves as it is."""
        return "cpu" if self.threads == 1 else "wall"


def choose(graph: Path, data: project.Data, wish: Wish) -> Packing:
    """Try what is asked for, and leave the graph that is taken in the place of the given one.

    Parameters
    ----------
    graph
        The exported graph, of full precision.
    data
        Train gives the scales of an int8 graph; validation is what scores are compared on.

    Raises
    ------
    EngineMissing
        An engine that `[pack] engines` names is not installed.
    ArtifactError
        The first engine cannot run the plain graph.
    """
    first, *others = _ways(wish.section)
    first = msgspec.structs.replace(first, bytes=graph.stat().st_size)
    with tempfile.TemporaryDirectory(prefix="coppice-") as name:
        int8 = Path(name) / artifact.MODEL
        if others:
            expected = answers.of_graph(_packed(first, graph), data.validation)
            graphs = _graphs(graph, int8, data, wish)
            others = [_compare(way, graphs, expected, data.validation, wish) for way in others]
            first, *others = _timed([first, *others], graphs, data.validation, wish)
        found = Packing(
            asked=wish.section.precision,
            rows=data.validation.rows,
            batch_rows=wish.section.batch_rows,
            threads=wish.threads,
            clock=wish.clock,
            tried=judge([first, *others], wish.section),
        )
        if found.taken.precision == "int8":
            shutil.copyfile(int8, graph)
    return found


def _ways(section: settings.PackSettings) -> list[Tried]:
    """Return what is to be tried, full precision on the first engine first."""
    wanted: dict[str, tuple[artifact.Precision, ...]] = {
        "fp32": ("fp32",),
        "bf16": ("fp32", "bf16"),
        "int8": ("fp32", "int8"),
        "auto": ("fp32", "bf16", "int8"),
    }
    return [
        Tried(engine=engine, precision=precision)
        for precision in wanted[section.precision]
        for engine in section.engines
        if (engine, precision) != ("onnxruntime", "bf16")
    ]


Graphs: TypeAlias = Mapping[artifact.Precision, Path | errors.ArtifactError]
"""The file for each precision, or why there is none."""


def _graphs(graph: Path, int8: Path, data: project.Data, wish: Wish) -> Graphs:
    found: dict[artifact.Precision, Path | errors.ArtifactError] = {"fp32": graph, "bf16": graph}
    if wish.section.precision in {"int8", "auto"}:
        rows = reference.spread(data.train, wish.section.calibration_rows)
        try:
            quantize.quantize(graph, int8, rows)
            found["int8"] = int8
        except errors.ArtifactError as problem:
            found["int8"] = problem
    return found


def _packed(way: Tried, path: Path) -> runtime.Packed:
    return runtime.Packed(path, way.engine, way.precision)


def _compare(
    way: Tried, graphs: Graphs, expected: labels.Floats, split: project.Split, wish: Wish
) -> Tried:
    """Measure how far the answers of a way are from those of full precision."""
    path, rules = graphs[way.precision], wish.rules
    try:
        if isinstance(path, errors.ArtifactError):
            raise path
        found = answers.of_graph(_packed(way, path), split)
    except errors.EngineMissing:
        raise
    except errors.ArtifactError as problem:
        return msgspec.structs.replace(way, reason=str(problem))
    truth = answers.targets(split)
    pairs = paired.pair(expected, found, truth, task=rules.task, scale=rules.scale)
    return msgspec.structs.replace(
        way,
        bytes=path.stat().st_size,
        quality=paired.compare(pairs, confidence=rules.confidence, seed=rules.seed),
    )


def _timed(tried: Sequence[Tried], graphs: Graphs, split: project.Split, wish: Wish) -> list[Tried]:
    """Let the first way and those that keep their score race, in batches of each size."""
    first, *_ = tried
    racing = [way for way in tried if way is first or not _loses(way, wish.section)]
    if len(racing) == 1:
        return list(tried)
    contestants = [
        timing.Contestant(
            name=way.name,
            path=str(graphs[way.precision]),
            engine=way.engine,
            precision=way.precision,
            threads=wish.threads,
        )
        for way in racing
    ]
    rows = served.rows(split, max(wish.batches)).inputs
    with timing.workers(contestants, rows) as running:
        rounds = {size: timing.take_turns(running, rows=size) for size in wish.batches}
    return [
        msgspec.structs.replace(
            way,
            times={
                str(size): timing.gain(
                    found,
                    first.name,
                    way.name,
                    clock=wish.clock,
                    confidence=wish.rules.confidence,
                )
                for size, found in rounds.items()
            },
        )
        if way in racing
        else way
        for way in tried
    ]


def judge(tried: Sequence[Tried], section: settings.PackSettings) -> tuple[Tried, ...]:
    """Take the fastest of those that keep their score and gain enough, or else the first.

    Pure; gives every one its reason.
    """
    first, *others = tried
    problems = [_loses(way, section) or _lags(way, section) for way in others]
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


def _loses(way: Tried, section: settings.PackSettings) -> str:
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
        f"it loses {100.0 * found.drop + 0.0:.2f} points of score on {found.rows:,} rows (between "
        f"{100.0 * found.low:.2f} and {100.0 * found.high:.2f}), and differs on "
        f"{100.0 * found.disagreement:.2f}%"
    )
