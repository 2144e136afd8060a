"""The whole evaluation of a candidate as one frozen value: columns, comparisons, slices, latency.

A *table* has one column of figures for each model that answered the same rows: the dense parent,
the null control (the dense parent trained as long again, unpruned), the candidate, and where there
is one the current champion. Without the null control the pruning would be blamed for the noise of
training. Deeper evaluation (robustness, privacy, found slices) adds fields here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from coppice import labels, project
from coppice.labels import Floats
from retrain.evaluate import latency, metrics, paired, slices

Column: TypeAlias = Literal["parent", "null", "candidate", "champion"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How to score and how sure to be."""

    task: labels.Task
    scale: float = 1.0
    classes: tuple[str, ...] = ()
    confidence: float = 0.95
    """Level of all intervals."""
    min_slice_rows: int = 30
    """Slices below it are reported, but share none of the chance of a false alarm."""
    seed: int = 0


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What several models do on the same rows."""

    rows: int
    columns: dict[Column, dict[str, float]]
    """Figures of `metrics.measure` by column."""
    yardstick: Column
    """The better of dense parent and null control by mean score: what the candidate must match."""
    comparisons: dict[Column, paired.Comparison] = {}
    """The candidate against each other column."""
    slices: dict[str, paired.Comparison] = {}
    """The candidate against the yardstick, slice by slice."""

    def score(self, column: Column) -> float:
        """Return the mean score of one column."""
        return self.columns[column]["score"]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the gates judge and the card keeps."""

    holdout: Table
    production: Table | None = None
    """On labelled production rows that no training saw; `None` where there are none."""
    latency: latency.Latency | None = None
    """Batch 1, each as it is served; `None` where it was not measured."""


def tabulate(answers: Mapping[Column, Floats], split: project.Split, rules: Rules) -> Table:
    """Measure each column, and compare the candidate with every other one on the same rows.

    Parameters
    ----------
    answers
        By column; all to the rows of `split`. Needs `parent` or `null`; without `candidate` there
        is nothing to compare, which is how a dense parent itself is evaluated.
    """
    targets = np.asarray(split.targets, dtype=np.float64)
    columns: dict[Column, dict[str, float]] = {
        name: metrics.measure(column, targets, task=rules.task, scale=rules.scale)
        for name, column in answers.items()
    }
    yardstick = _yardstick(columns)
    pairs = _pair_all(answers, targets, rules)
    return Table(
        rows=split.rows,
        columns=columns,
        yardstick=yardstick,
        comparisons={
            name: paired.compare(found, confidence=rules.confidence, seed=rules.seed)
            for name, found in pairs.items()
        },
        slices=_slices(pairs[yardstick], split, rules) if pairs else {},
    )


def _yardstick(columns: Mapping[Column, Mapping[str, float]]) -> Column:
    # max keeps the first of equals, so the dense parent itself wins a tie.
    order: tuple[Column, Column] = ("parent", "null")
    present: list[Column] = [name for name in order if name in columns]
    return max(present, key=lambda name: columns[name]["score"])


def _pair_all(
    answers: Mapping[Column, Floats], targets: Floats, rules: Rules
) -> dict[Column, paired.Pairs]:
    if "candidate" not in answers:
        return {}
    return {
        name: paired.pair(column, answers["candidate"], targets, task=rules.task, scale=rules.scale)
        for name, column in answers.items()
        if name != "candidate"
    }


def _slices(
    pairs: paired.Pairs, split: project.Split, rules: Rules
) -> dict[str, paired.Comparison]:
    return slices.compare(
        pairs,
        slices.masks(split, rules.classes),
        confidence=rules.confidence,
        min_rows=rules.min_slice_rows,
        seed=rules.seed,
    )
