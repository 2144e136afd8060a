"""What every column of an evaluation answers to the same rows, for the sections that compare them.

Pruned, dense and null models are asked in torch; a champion that is there as a graph only is asked
through the serving runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from coppice import project, runtime
from coppice.labels import Floats
from retrain import train
from retrain.evaluate import evaluation, section

Answers: TypeAlias = Mapping[evaluation.Column, Floats]
"""By column: class probabilities [rows, classes], or regression values [rows]; float64."""

NAMES: dict[evaluation.Column, str] = {
    "parent": "dense parent",
    "null": "null control",
    "candidate": "candidate",
    "champion": "champion",
}
"""What a reader calls each column, in the order in which they stand side by side."""


def ask(subject: section.Subject, split: project.Split) -> dict[evaluation.Column, Floats]:
    """Ask every model for its public answers, in the order of `NAMES`."""
    found: dict[evaluation.Column, Floats] = {}
    for column in NAMES:
        if column in subject.models:
            answers = train.predict(subject.models[column], split.inputs, task=subject.rules.task)
        elif column == "champion" and column in subject.graphs:
            answers = _served(Path(subject.graphs[column]), split)
        else:
            continue
        found[column] = answers.astype(np.float64)
    return found


def targets(split: project.Split) -> Floats:
    """Return the truth as the figures want it: float64 [rows]."""
    return np.asarray(split.targets, dtype=np.float64)


def splits(subject: section.Subject) -> dict[str, project.Split]:
    """Return the rows to judge on: the holdout, and held-back production where there is some."""
    held_back = subject.production.held_back if subject.production else None
    rows = {"holdout": subject.data.holdout}
    return rows | ({"production": held_back} if held_back is not None and held_back.rows else {})


def _served(path: Path, split: project.Split) -> Floats:
    session = runtime.Session(path)
    step = train.PREDICT_ROWS
    parts = [
        session.run({name: array[at : at + step] for name, array in split.inputs.items()})[
            runtime.SCORES
        ]
        for at in range(0, split.rows, step)
    ]
    found = np.concatenate(parts).astype(np.float64)
    return found[:, 0] if found.shape[1:] == (1,) else found
