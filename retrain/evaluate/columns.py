"""Columns that say nothing, lack values, or leave in the holdout the range they had in training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from coppice import project
from retrain.evaluate import rows


class Stray(NamedTuple):
    """A column whose holdout rows leave the range of training more often than chance lets them."""

    column: int
    low: float
    high: float
    outside: tuple[int, ...]
    """Holdout rows outside [low, high]."""
    chance: float
    """Probability of so many or more, were holdout and training drawn alike."""


def constant(split: project.Split) -> rows.Index:
    """Return the columns that have the same value in every row.

    >>> table = project.Split(inputs={"x": np.array([[1.0, 2.0], [1.0, 3.0]])}, targets=np.zeros(2))
    >>> constant(table).tolist()
    [0]
    """
    same = [(block == block[:1]).all(axis=0) for block in rows.blocks(split)]
    return np.flatnonzero(np.concatenate([np.empty(0, bool), *same]))


def missing(split: project.Split) -> rows.Matrix:
    """Return the share of rows without a usable number, by column: NaN or infinite."""
    shares = [1.0 - np.isfinite(block).mean(axis=0) for block in rows.blocks(split)]
    return np.concatenate([np.empty(0), *shares])


def strays(train: project.Split, holdout: project.Split, *, alpha: float) -> tuple[Stray, ...]:
    """Find the columns whose holdout rows leave the training range too often, worst first.

    If n training and m holdout values are drawn alike, the share of the source beyond the two
    training extremes follows Beta(2, n-1), so the holdout values out there follow a beta-binomial
    law, whatever the values' own distribution. Equal values make leaving rarer, never likelier.

    Parameters
    ----------
    alpha
        Chance of naming any column wrongly, shared equally by all columns (Bonferroni).

    References
    ----------
    Wilks, Statistical prediction with special reference to the problem of tolerance limits, Annals
    of Mathematical Statistics 13 (1942), 400-409.
    """
    columns = int(sum(block.shape[1] for block in rows.blocks(train)))
    if train.rows < 2 or not columns:
        return ()
    law = stats.betabinom(holdout.rows, 2, train.rows - 1)
    found, start = [], 0
    for known, asked in zip(rows.blocks(train), rows.blocks(holdout), strict=True):
        low, high = known.min(axis=0), known.max(axis=0)
        outside = (asked < low) | (asked > high)
        chances = law.sf(outside.sum(axis=0) - 1)
        found += [
            Stray(
                column=start + int(column),
                low=float(low[column]),
                high=float(high[column]),
                outside=tuple(np.flatnonzero(outside[:, column]).tolist()),
                chance=float(chances[column]),
            )
            for column in np.flatnonzero(chances < alpha / columns)
        ]
        start += known.shape[1]
    return tuple(sorted(found, key=lambda each: (each.chance, each.column)))
