"""Measure one structure beside the dense model.

Weights do not matter for what a structure costs, so each is built with any, exported as it would be
served, and measured. Latency is timed in turns with the dense graph, each in a process of its own,
so that a slow moment of the machine hits both. Whatever may serve is timed, such as an int8 graph
beside the plain one, and the fastest counts.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np

from coppice import errors, project, runtime
from retrain import onnx_export, quantize, timing
from retrain.evaluate import footprint, latency
from retrain.pruning import schedule
from retrain.search import recut, subject, terms

ROUNDS = 5
"""Turns of each graph; what is chosen in the end is timed again."""
CALIBRATION_ROWS = 32
"""Rows that give an int8 graph scales; they do not change how long it takes."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a structure costs beside the dense model, in the target's own unit."""

    dense: float
    """Seconds of one batch; bytes of the graph; bytes of memory; multiply-accumulates of a row."""
    pruned: float
    gain: float
    """How many times less that is."""
    low: float
    """Lower end of the gain's confidence interval; the gain itself where it is counted."""
    high: float
    macs: int
    parameters: int
    way: str = ""
    """What serves it fastest, of a latency."""


class Prepared(NamedTuple):
    """A model that is ready to be measured, and its graph where one is needed."""

    counted: schedule.Cost
    graph: Path


class Gauge:
    """Measures models beside the dense one; a context, because the dense graph runs in a process.

    The dense model is exported, and its process started, when the first model is measured; the
    graph of a ground when the first structure on it is.
    """

    def __init__(self, of: subject.Subject, on: terms.Terms) -> None:
        self._of = of
        self._on = on
        self._stack = contextlib.ExitStack()
        self._folder = Path()

    def __enter__(self) -> Self:
        """Make a folder for graphs."""
        name = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="coppice-"))
        self._folder = Path(name)
        return self

    def __exit__(self, *problem: object) -> None:
        """End the processes."""
        self._stack.close()

    def prepare(self, structure: subject.Structure) -> Prepared:
        """Count a structure, and make its graph where the target needs one."""
        of, model = self._of, structure.model
        counted, graph = schedule.cost(model, of.training), self._folder / "pruned.onnx"
        if self._on.target == "macs":
            return Prepared(counted, graph)
        ground = self._ground(structure.ground)
        if not recut.recut(ground, structure, of.training, graph, task=of.task):
            onnx_export.export(model, of.training, graph, task=of.task)
        return Prepared(counted, graph)

    def _ground(self, place: int) -> Path:
        path = self._folder / f"ground-{place}.onnx"
        if not path.exists():
            of = self._of
            onnx_export.export(of.grounds[place].model, of.training, path, task=of.task)
        return path

    def measure(self, prepared: Prepared) -> Cost:
        """Measure a prepared model beside the dense one.

        Raises
        ------
        ArtifactError
            Its graph cannot be run.
        """
        counted, graph = prepared
        match self._on.target:
            case "latency":
                return self._timed(prepared)
            case "size":
                return cost(counted, self._dense.graph.stat().st_size, graph.stat().st_size)
            case "memory":
                return cost(counted, self._memory, self._grown(graph))
            case "macs":
                return cost(counted, self._dense.counted.macs, counted.macs)

    @functools.cached_property
    def _dense(self) -> Prepared:
        of, graph = self._of, self._folder / "dense.onnx"
        if self._on.target != "macs":
            onnx_export.export(of.model, of.training, graph, task=of.task)
        return Prepared(schedule.cost(of.model, of.training), graph)

    @functools.cached_property
    def _memory(self) -> int:
        return self._grown(self._dense.graph)

    def _grown(self, graph: Path) -> int:
        first = self._on.ways[0]
        found = footprint.measure(runtime.Packed(graph, first.engine, first.precision), self._rows)
        if not found:
            message = f"the memory that {graph.name} needs could not be measured on this machine"
            raise errors.ArtifactError(message)
        return found

    @functools.cached_property
    def _rows(self) -> dict[str, project.Array]:
        split = self._of.validation
        return dict(split.take(np.arange(self._on.batch) % split.rows).inputs)

    @functools.cached_property
    def _running(self) -> timing.Worker:
        contestant = self._on.contestant("dense", self._dense.graph)
        (worker,) = self._stack.enter_context(timing.workers([contestant], self._rows))
        return worker

    def _timed(self, prepared: Prepared) -> Cost:
        """Time a graph in every way that can run it; the plain one has to."""
        plain, *others = self._on.ways
        with contextlib.ExitStack() as stack:
            workers = [self._running]
            for way in (plain, *others):
                try:
                    contestant = self._on.contestant(way.name, self._graph(prepared, way), way)
                    workers += stack.enter_context(timing.workers([contestant], self._rows))
                except errors.EngineMissing:
                    raise
                except errors.ArtifactError:
                    # What cannot be quantized, or run by another engine, is served plainly.
                    if way is plain:
                        raise
            found = timing.take_turns(workers, rows=self._on.batch, rounds=ROUNDS)
        gains = {
            name: timing.gain(found, "dense", name, clock=self._on.clock)
            for name in found
            if name != "dense"
        }
        best = max(gains, key=lambda name: gains[name].gain)
        taken = best if self._surely(gains[best], gains[plain.name]) else plain.name
        return of_time(prepared.counted, gains[taken], taken)

    def _surely(self, best: latency.Latency, plain: latency.Latency) -> bool:
        return best.gain >= self._on.min_gain * plain.gain

    def _graph(self, prepared: Prepared, way: terms.Way) -> Path:
        if way.precision != "int8":
            return prepared.graph
        path = prepared.graph.with_suffix(".int8.onnx")
        rows = subject.spread(self._of.training, CALIBRATION_ROWS)
        quantize.quantize(prepared.graph, path, rows)
        return path


def cost(counted: schedule.Cost, dense: float, pruned: float) -> Cost:
    """Put a cost together that was counted, which has no interval."""
    gain = dense / pruned
    return Cost(
        dense=dense,
        pruned=pruned,
        gain=gain,
        low=gain,
        high=gain,
        macs=counted.macs,
        parameters=counted.parameters,
    )


def of_time(counted: schedule.Cost, timed: latency.Latency, way: str) -> Cost:
    """Put a cost together that was timed."""
    return Cost(
        dense=timed.parent_seconds,
        pruned=timed.candidate_seconds,
        gain=timed.gain,
        low=timed.low,
        high=timed.high,
        macs=counted.macs,
        parameters=counted.parameters,
        way=way,
    )
