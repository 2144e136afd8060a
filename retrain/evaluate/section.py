"""A section of the evaluation: one question about a candidate, measured, in one shape for all.

Every deeper measurement (slices, robustness, privacy, data, cost, ...) is a plain function from a
`Subject` to a `Section`. The card keeps sections as they are and the report draws them without
knowing what they are about, so adding a section is one file and one line in `inspection.SECTIONS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from coppice import project, runtime
from retrain import dataset
from retrain.evaluate import evaluation
from retrain.pruning import recipe

Status: TypeAlias = Literal["measured", "not measured", "off"]
Cell: TypeAlias = str | float | int | None
ChartKind: TypeAlias = Literal["bars", "lines", "points", "reliability"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number with its interval, as a gate or a report needs it."""

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    """`share`, `points`, `s`, `bytes`, `times`, or empty for a plain number."""
    better: Literal["higher", "lower"] | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows for an engineer."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A picture as data: named series of (x, y) points; for bars x is the place of a label."""

    title: str
    kind: ChartKind
    x: str
    y: str
    series: dict[str, tuple[tuple[float, float], ...]]
    labels: tuple[str, ...] = ()


class Exemplar(msgspec.Struct, frozen=True, kw_only=True):
    """One row that is worth looking at: as a grey picture [h, w] in [0, 1], or as named values."""

    caption: str
    pixels: tuple[tuple[float, ...], ...] = ()
    values: dict[str, Cell] = {}


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    name: str
    """Short, lower case, also the key in the card and in `[inspect]`."""
    title: str
    status: Status
    sentence: str
    """What a manager should take from it; for `not measured` what to do about that."""
    figures: dict[str, Figure] = {}
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """The candidate under examination, with everything that it is compared with.

    Attributes
    ----------
    own
        The loaded project, for its settings and its model factory.
    models
        Torch modules in evaluation mode by column; `candidate`, `parent` and `null` are there.
    data
        The project's splits.
    production
        Labelled production rows, or `None`.
    training
        The rows that the models were trained on.
    rules
        How to score and how sure to be; holds the seed.
    recipe
        What was pruned and how.
    graphs
        Graphs by column, each with what it is served by, for what is measured as it serves.
    seconds
        Time that the phases of making the candidate took, by name, as far as they have ended.
    """

    own: project.Project
    models: Mapping[evaluation.Column, Any]
    data: project.Data
    production: dataset.Production | None
    training: project.Split
    rules: evaluation.Rules
    recipe: recipe.Recipe
    graphs: Mapping[evaluation.Column, runtime.Packed]
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)


Measure: TypeAlias = Callable[[Subject], Section]
