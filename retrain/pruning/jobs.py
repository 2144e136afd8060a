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
    """

    split: project.Split
    step: recipe.Step
    due: float
    before: Mapping[str, int]
    task: labels.Task
    seed: int


def example(split: project.Split) -> network.Tensors:
    """Return the few rows that a model is traced with and a cut is tried on."""
    return network.to_tensors(split.take(np.arange(min(TRACE_ROWS, split.rows))).inputs)
