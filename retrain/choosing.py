"""Choose what serves a pruned model: try ways, measure them, and leave the graph that is taken.

Called by the candidate's flow between export and evaluation, so that everything after it judges
the graph that will serve. Takes the exported graph and data; gives a record of what was tried.
`packing.judge` decides, by scores on the validation split and a race of processes of their own.
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
from retrain import onnx_export, packing, quantize, reference, served, timing
from retrain.evaluate import answers, evaluation, paired

BATCHES = (1, 32)
"""Sizes of batches that are timed besides the one that decides."""


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


def check(section: settings.PackSettings) -> None:
    """Make sure that every engine is there.

    Raises
    ------
    EngineMissing
        One is not installed.
    """
    for engine in section.engines:
        runtime.require(engine)


def choose(graph: Path, data: project.Data, wish: Wish) -> packing.Packing:
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
    first, *others = ways(wish.section)
    first = msgspec.structs.replace(first, bytes=graph.stat().st_size)
    with tempfile.TemporaryDirectory(prefix="coppice-") as name:
        int8 = Path(name) / artifact.MODEL
        if others:
            expected = answers.of_graph(first.packed(graph), data.validation)
            graphs = _graphs(graph, int8, data, wish)
            others = [_compare(way, graphs, expected, data.validation, wish) for way in others]
            first, *others = _timed([first, *others], graphs, data.validation, wish)
        found = packing.Packing(
            asked=wish.section.precision,
            rows=data.validation.rows,
            batch_rows=wish.section.batch_rows,
            threads=wish.threads,
            clock=wish.clock,
            tried=packing.judge([first, *others], wish.section),
        )
        if found.taken.precision == "int8":
            shutil.copyfile(int8, graph)
    return found


def ways(section: settings.PackSettings) -> list[packing.Tried]:
    """Return what is to be tried, full precision on the first engine first."""
    wanted: dict[str, tuple[artifact.Precision, ...]] = {
        "fp32": ("fp32",),
        "bf16": ("fp32", "bf16"),
        "int8": ("fp32", "int8"),
        "auto": ("fp32", "bf16", "int8"),
    }
    return [
        packing.Tried(engine=engine, precision=precision)
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


def _compare(
    way: packing.Tried, graphs: Graphs, expected: labels.Floats, split: project.Split, wish: Wish
) -> packing.Tried:
    """Measure how far the answers of a way are from those of full precision."""
    path, rules = graphs[way.precision], wish.rules
    try:
        if isinstance(path, errors.ArtifactError):
            raise path
        found = answers.of_graph(way.packed(path), split)
    except errors.EngineMissing:
        raise
    except errors.ArtifactError as problem:
        return msgspec.structs.replace(way, reason=str(problem))
    gap = onnx_export.gap(found, expected, task=rules.task)
    # Not `gap > PARITY`: a NaN must not pass.
    if way.precision == "fp32" and not gap <= onnx_export.PARITY:
        reason = f"in full precision it differs by {gap:.2g}, above {onnx_export.PARITY}"
        return msgspec.structs.replace(way, bytes=path.stat().st_size, reason=reason)
    truth = answers.targets(split)
    pairs = paired.pair(expected, found, truth, task=rules.task, scale=rules.scale)
    return msgspec.structs.replace(
        way,
        bytes=path.stat().st_size,
        quality=paired.compare(pairs, confidence=rules.confidence, seed=rules.seed),
    )


def _timed(
    tried: Sequence[packing.Tried], graphs: Graphs, split: project.Split, wish: Wish
) -> list[packing.Tried]:
    """Let the first way and those that keep their score race, in batches of each size."""
    first, *_ = tried
    racing = [way for way in tried if way is first or not packing.loses(way, wish.section)]
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
