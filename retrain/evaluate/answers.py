"""What every column of an evaluation answers to the same rows, for the sections that compare them.

The candidate and the champion are asked as they are served: the graph, on its engine, in its
precision. The dense parent and the null control are asked in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from coppice import errors, project, runtime
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

_SERVED: tuple[evaluation.Column, ...] = ("candidate", "champion")


def ask(subject: section.Subject, split: project.Split) -> dict[evaluation.Column, Floats]:
    """Ask every model for its public answers, in the order of `NAMES`."""
    found: dict[evaluation.Column, Floats] = {}
    for column in NAMES:
        if column in _SERVED and column in subject.graphs:
            found[column] = of_graph(subject.graphs[column], split)
        elif column in subject.models:
            answers = train.predict(subject.models[column], split.inputs, task=subject.rules.task)
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


def of_graph(packed: runtime.Packed, split: project.Split) -> Floats:
    """Ask a graph through the serving runtime: probabilities, or values [rows]; float64.

    Raises
    ------
    ArtifactError
        It cannot be loaded, or its answers are not finite.
    """
    return through(runtime.load(packed).run, split)


def through(
    run: Callable[[Mapping[str, project.Array]], Mapping[str, project.Array]], split: project.Split
) -> Floats:
    """Ask whatever answers a batch with named outputs, a part of the rows at a time.

    Raises
    ------
    ArtifactError
        Its answers are not finite.
    """
    step = train.PREDICT_ROWS
    parts = [
        run({name: array[at : at + step] for name, array in split.inputs.items()})[runtime.SCORES]
        for at in range(0, split.rows, step)
    ]
    found = np.concatenate(parts).astype(np.float64)
    if not np.isfinite(found).all():
        message = "the graph answers NaN or infinite values to real rows"
        raise errors.ArtifactError(message)
    return found[:, 0] if found.shape[1:] == (1,) else found
