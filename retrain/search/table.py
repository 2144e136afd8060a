"""What widths cost on the target: a table that is kept between runs and shared between processes.

Weights do not matter for what a structure costs, so each is built with any, exported as it would be
served, and measured beside the dense model. Latency is timed in turns with the dense graph, each
in a process of its own, so that a slow moment of the machine hits both; what is kept is the ratio.
One process times at a time, and a structure that another has measured meanwhile is not timed again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import platform
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeAlias, get_args

import msgspec
import numpy as np

from coppice import artifact, errors, project, runtime
from retrain import onnx_export, timing
from retrain.evaluate import footprint, latency
from retrain.pruning import schedule
from retrain.search import deadline, recut, store, subject, widths

Target: TypeAlias = Literal["latency", "size", "memory", "macs"]
TARGETS: tuple[Target, ...] = get_args(Target)
ROUNDS = 5
"""Turns of each graph for an entry of the table; what is chosen in the end is timed again."""


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """What is measured, and on what.

    Attributes
    ----------
    target
        One of `TARGETS`.
    batch, threads
        Rows answered at once, and threads of one run.
    engine, precision
        What runs the graph.
    """

    target: Target = "latency"
    batch: int = 1
    threads: int = 1
    engine: artifact.Engine = "onnxruntime"
    precision: artifact.Precision = "fp32"

    @property
    def clock(self) -> Literal["wall", "cpu"]:
        """The clock that judges: one thread's time on a core leaves out what else is running."""
        return "cpu" if self.threads == 1 else "wall"

    def contestant(self, name: str, graph: Path) -> timing.Contestant:
        """Return a graph that is to be timed on these terms."""
        return timing.Contestant(
            name=name,
            path=str(graph),
            engine=self.engine,
            precision=self.precision,
            threads=self.threads,
        )

    def key(self) -> dict[str, object]:
        """Return all of it that a cost follows from, with the machine's part."""
        told: dict[str, object] = {"target": self.target, "torch": _version("torch")}
        if self.target in {"latency", "memory"}:
            told |= dataclasses.asdict(self) | {
                "runtime": _version(self.engine),
                "processor": processor(),
            }
        return told


class Table:
    """Measures structures, and remembers.

    Parameters
    ----------
    of
        The dense model, whose structure is the other half of every entry.
    kept
        Where entries lie.
    source
        Digest of the code that the model comes of.
    """

    def __init__(self, of: subject.Subject, terms: Terms, kept: store.Store, source: str) -> None:
        self.of = of
        self.terms = terms
        self._kept = kept
        self._source = source
        self._told = terms.key()
        self._dense = subject.structure_digest(of.model, source)

    def fill(
        self,
        wanted: Sequence[widths.Widths],
        told: Callable[[float], None],
        *,
        until: deadline.Deadline,
    ) -> list[Cost | None]:
        """Return the cost of each of the widths, in order; `None` where the time ran out before.

        Parameters
        ----------
        told
            The share that is done.
        """
        found: list[Cost | None] = []
        with Gauge(self.of, self.terms) as gauge:
            for number, kept in enumerate(wanted):
                told(number / len(wanted))
                found.append(self._cost(self.of.structure(kept), gauge, until))
        told(1.0)
        return found

    def _cost(
        self, structure: subject.Structure, gauge: Gauge, until: deadline.Deadline
    ) -> Cost | None:
        digest = subject.structure_digest(structure.model, self._source)
        key = {**self._told, "dense": self._dense, "structure": digest}
        found = self._kept.get(key, Cost)
        if found is not None or until.over:
            return found
        prepared = gauge.prepare(structure)
        with self._kept.turn():
            found = self._kept.get(key, Cost)
            if found is None:
                found = gauge.measure(prepared)
                self._kept.put(key, found)
        return found


class Prepared(NamedTuple):
    """A model that is ready to be measured, and its graph where one is needed."""

    counted: schedule.Cost
    graph: Path


class Gauge:
    """Measures models beside the dense one; a context, because the dense graph runs in a process.

    The dense model is exported, and its process started, when the first model is measured.
    """

    def __init__(self, of: subject.Subject, terms: Terms) -> None:
        self._of = of
        self._terms = terms
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
        of = self._of
        counted, graph = schedule.cost(structure.model, of.training), self._folder / "pruned.onnx"
        if self._terms.target != "macs" and not recut.recut(
            self._dense.graph, structure, of.training, graph, task=of.task
        ):
            onnx_export.export(structure.model, of.training, graph, task=of.task)
        return Prepared(counted, graph)

    def measure(self, prepared: Prepared) -> Cost:
        """Measure a prepared model beside the dense one.

        Raises
        ------
        ArtifactError
            Its graph cannot be run.
        """
        counted, graph = prepared
        match self._terms.target:
            case "latency":
                timed = self._timed(graph)
                return cost(counted, timed.parent_seconds, timed.candidate_seconds, timed)
            case "size":
                return cost(counted, self._dense.graph.stat().st_size, graph.stat().st_size)
            case "memory":
                return cost(counted, self._memory, self._grown(graph))
            case "macs":
                return cost(counted, self._dense.counted.macs, counted.macs)

    @functools.cached_property
    def _dense(self) -> Prepared:
        counted = schedule.cost(self._of.model, self._of.training)
        graph = self._folder / "dense.onnx"
        if self._terms.target != "macs":
            onnx_export.export(self._of.model, self._of.training, graph, task=self._of.task)
        return Prepared(counted, graph)

    @functools.cached_property
    def _memory(self) -> int:
        return self._grown(self._dense.graph)

    def _grown(self, graph: Path) -> int:
        packed = runtime.Packed(graph, self._terms.engine, self._terms.precision)
        found = footprint.measure(packed, self._rows)
        if not found:
            message = f"the memory that {graph.name} needs could not be measured on this machine"
            raise errors.ArtifactError(message)
        return found

    @functools.cached_property
    def _rows(self) -> dict[str, project.Array]:
        split = self._of.validation
        return dict(split.take(np.arange(self._terms.batch) % split.rows).inputs)

    @functools.cached_property
    def _running(self) -> timing.Worker:
        contestant = self._terms.contestant("dense", self._dense.graph)
        (worker,) = self._stack.enter_context(timing.workers([contestant], self._rows))
        return worker

    def _timed(self, graph: Path) -> latency.Latency:
        with timing.workers([self._terms.contestant("pruned", graph)], self._rows) as (worker,):
            found = timing.take_turns(
                [self._running, worker], rows=self._terms.batch, rounds=ROUNDS
            )
        return timing.gain(found, "dense", "pruned", clock=self._terms.clock)


def cost(
    counted: schedule.Cost, dense: float, pruned: float, timed: latency.Latency | None = None
) -> Cost:
    """Put a cost together; what was counted, and not timed, has no interval."""
    gain = dense / pruned
    return Cost(
        dense=dense,
        pruned=pruned,
        gain=timed.gain if timed else gain,
        low=timed.low if timed else gain,
        high=timed.high if timed else gain,
        macs=counted.macs,
        parameters=counted.parameters,
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """Return the name of this machine's processor, as its kernel tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()} {platform.processor()}"
