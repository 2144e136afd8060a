"""The data of one candidate, sorted by the use that is made of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from coppice import errors, project
from retrain import dataset, parents
from retrain.evaluate import slices

MIN_JUDGED_ROWS = 30
"""Held-back production rows from which on they, not the holdout, say what live traffic is like."""
MIN_REFERENCE_ROWS = 200
"""Held-back production rows from which on they alone are what live traffic is compared with."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The project's data and production's, by use.

    Attributes
    ----------
    data
        The project's own splits.
    fingerprint
        Of the dense parent that follows from them.
    training
        The project's training split, and production where there is some.
    recovery
        Rows that fine-tuning after the cut learns from.
    held_back
        Production rows to judge on; `None` where there are none.
    packed
        What packing takes the basis, the calibrator and the reference for monitoring from.
    production
        Production as it was collected.
    """

    data: project.Data
    fingerprint: str
    training: project.Split
    recovery: project.Split
    held_back: project.Split | None
    packed: project.Data
    production: dataset.Production | None

    def passes(self, epochs: int) -> int:
        """Say how many passes over repeated rows cost what `epochs` over distinct ones do.

        Repetition says how much a row weighs, not for how long to train.
        """
        if self.production is None:
            return epochs
        once = self.data.train.rows + self.production.older.rows + self.production.recent.rows
        return max(1, round(epochs * once / self.training.rows))

    def used(self) -> dict[str, project.Split]:
        """Return every split that had a part in the candidate, by name."""
        splits = {
            "train": self.training,
            "recovery": self.recovery,
            "validation": self.data.validation,
            "holdout": self.data.holdout,
        }
        return splits | ({"held_back": self.held_back} if self.held_back else {})


def gather(
    own: project.Project,
    production: dataset.Production | None = None,
    *,
    data: project.Data | None = None,
    recover_on: str | None = None,
) -> Material:
    """Load the project's data, unless they are given, and put production beside them.

    Parameters
    ----------
    recover_on
        Name of the only slice to fine-tune on after the cut, such as `medium=paper`.

    Raises
    ------
    ProjectError
        The data cannot be used, or have no such slice.
    """
    data = data or project.load_data(own)
    training = dataset.combine(data.train, production) if production else data.train
    return Material(
        data=data,
        fingerprint=parents.fingerprint(own, data),
        training=training,
        recovery=_only(training, recover_on),
        held_back=production.held_back if production and production.held_back.rows else None,
        packed=_packed(data, training, production),
        production=production,
    )


def _only(split: project.Split, wanted: str | None) -> project.Split:
    if wanted is None:
        return split
    named = slices.masks(split, ())
    if wanted not in named:
        message = f"the training data have no slice {wanted!r}; known: {', '.join(named) or 'none'}"
        raise errors.ProjectError(message)
    return split.take(named[wanted])


def _packed(
    data: project.Data, training: project.Split, production: dataset.Production | None
) -> project.Data:
    """Choose what live traffic is compared with: where there is some, the world as it is now.

    Held-back rows are as clean as a holdout, so they calibrate; where they are too few for a
    reference, the recent training rows serve beside them.
    """
    if production is None or production.held_back.rows < MIN_JUDGED_ROWS:
        return data
    recent = production.recent
    if production.held_back.rows >= MIN_REFERENCE_ROWS:
        recent = recent.take(np.arange(0))
    return dataclasses.replace(
        data, train=training, validation=production.held_back, holdout=recent
    )
