"""What a sweep found, as frozen values that are kept as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from coppice import labels
from retrain.evaluate import latency, paired
from retrain.pruning import recipe
from retrain.report import prunings

SCHEMA = 1
CONTROL = "random"
"""The criterion that every other has to beat."""
BATCH = 32
"""Rows of the larger batch that is timed; the smaller one is a single row."""


class Combination(msgspec.Struct, frozen=True, kw_only=True):
    """One pruning of a sweep."""

    criterion: str
    amount: float
    seed: int

    @property
    def words(self) -> str:
        """What people call it."""
        return f"{self.criterion} {100 * self.amount:.6g}% seed {self.seed}"


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How much faster a pruned graph is, for batches of one size."""

    rows: int
    same: latency.Latency
    """Against the dense parent's graph in the same runtime."""
    eager: latency.Latency
    """Against the dense parent in torch, operation by operation."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What a network costs."""

    macs: int
    """Multiply-accumulates for one row."""
    parameters: int
    zipped_bytes: int
    """Size of its weights, compressed: what masks save, who leave the graph as large as it was."""


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of the graphs of all networks of one structure, whatever their weights are."""

    graph_bytes: int
    """Size of the ONNX file."""
    speeds: tuple[Speed, ...] = ()
    """None of the dense parent itself."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured of one pruned and recovered model."""

    score: float
    """Mean score on the rows of the sweep, in [0, 1]; for classes the accuracy."""
    against_parent: paired.Comparison
    against_null: paired.Comparison
    network: Network
    graph: Graph
    cut: prunings.Cut
    epochs: int
    """Passes of all its training; the null control that it is compared with took as many."""
    seconds: float
    """What it took, without the null control."""

    def speed(self, rows: int) -> Speed:
        """Return the times of batches of so many rows."""
        return next(each for each in self.graph.speeds if each.rows == rows)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one combination: measured, or refused with the reason."""

    combination: Combination
    measured: Measured | None = None
    refused: str = ""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The dense parent trained as long again, unpruned."""

    seed: int
    epochs: int
    score: float
    against_parent: paired.Comparison


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """How far a criterion lies above random choice, in points of score over seeds and rows."""

    criterion: str
    amount: float | None = None
    """`None` stands for the mean over the amounts."""
    seeds: int
    value: float
    """Mean score by the criterion minus mean score by chance."""
    low: float | None = None
    """Lower end of its interval; `None` with a single seed."""
    high: float | None = None
    more_epochs: int = 0
    """Passes of training that the criterion had beyond what random choice had."""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """A whole sweep, also one that is not finished."""

    schema: int = SCHEMA
    name: str
    """Of the project."""
    task: labels.Task
    scale: float = 1.0
    """For a regression: the error that counts as wholly wrong, in units of the target."""
    base: recipe.Recipe
    criteria: tuple[str, ...]
    amounts: tuple[float, ...]
    seeds: tuple[int, ...]
    scored: str
    rows: int
    """Rows that were scored."""
    confidence: float
    fingerprint: str
    """Digest of what the dense parent follows from."""
    libraries: dict[str, str]
    score: float
    """Of the dense parent."""
    dense: Network
    dense_graph: Graph
    controls: tuple[Control, ...]
    outcomes: tuple[Outcome, ...]
    edges: tuple[Edge, ...] = ()

    @property
    def left(self) -> int:
        """Combinations that were not carried out."""
        return len(self.criteria) * len(self.amounts) * len(self.seeds) - len(self.outcomes)


def to_json(found: Any) -> bytes:
    """Write a value of this module, readable for people."""
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"
