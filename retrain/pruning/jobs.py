"""What every level is given for one cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from coppice import labels, project
from retrain import network
from retrain.pruning import recipe

TRACE_ROWS = 2
"""Rows of the forward passes that only follow channels."""
TRIED_ROWS = 64
"""Rows, from all over the split, that a cut is tried on before it is made."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One cut of one level.

    Attributes
    ----------
    split
        Rows to score on and to trace with.
    step
        What to remove.
    due
        Share of the step's amounts that is due by now, in (0, 1].
    before
        What there was before the step's first cut, by name: channels of groups, blocks, and weights
        of tensors that were not zero.
    task, seed
        Of the loss, and of the draws.
    left
        What the step's cuts before this one have left, of channels of groups and of blocks.
    """

    split: project.Split
    step: recipe.Step
    due: float
    before: Mapping[str, int]
    task: labels.Task
    seed: int
    left: Mapping[str, int] = dataclasses.field(default_factory=dict)


def example(split: project.Split) -> network.Tensors:
    """Return the few rows that a model is traced with."""
    return network.to_tensors(split.take(np.arange(min(TRACE_ROWS, split.rows))).inputs)


def spread(split: project.Split) -> network.Tensors:
    """Return rows from all over a split, for what has to hold for every row."""
    rows = np.unique(np.linspace(0, split.rows - 1, TRIED_ROWS).astype(np.int64))
    return network.to_tensors(split.take(rows).inputs)
