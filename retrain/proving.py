"""Prove a candidate: ask all models the same rows, race the graphs, and say what to expect live."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from coppice import artifact, clock, labels, project, runtime
from coppice.registry.base import Registry
from retrain import material, reference, train
from retrain.evaluate import evaluation, latency


def rules(own: project.Project, classes: tuple[str, ...]) -> evaluation.Rules:
    """Return how this project scores, and how sure it wants to be."""
    tree = own.settings
    return evaluation.Rules(
        task=tree.project.task,
        scale=tree.project.scale,
        classes=classes,
        confidence=tree.gates.confidence,
        min_slice_rows=tree.gates.min_slice_rows,
        seed=tree.project.seed,
    )


def evaluate(
    used: material.Material,
    models: Mapping[evaluation.Column, nn.Module],
    how: evaluation.Rules,
    *,
    champion: runtime.Runtime | None = None,
) -> evaluation.Evaluation:
    """Let every model answer the holdout, and the held-back production rows where there are some.

    Parameters
    ----------
    champion
        The version that serves now, asked through the serving runtime.
    """

    def table(split: project.Split) -> evaluation.Table:
        answers: dict[evaluation.Column, labels.Floats] = {
            column: train.predict(model, split.inputs, task=how.task)
            for column, model in models.items()
        }
        if champion is not None:
            answers["champion"] = _served(champion, split)
        return evaluation.tabulate(answers, split, how)

    return evaluation.Evaluation(
        holdout=table(used.data.holdout),
        production=table(used.held_back) if used.held_back else None,
    )


def champion(registry: Registry, name: str, data: project.Data) -> runtime.Runtime | None:
    """Load the version that serves now, where there is one that answers the same question."""
    tag = registry.aliases(name).get("champion")
    if tag is None:
        return None
    found = runtime.Runtime(registry.path(tag), expected_tag=tag)
    same = found.manifest.inputs == reference.input_specs(data.train)
    return found if same and found.manifest.classes == data.classes else None


def graphs(
    registry: Registry, parent: str, candidate: Path, data: project.Data
) -> dict[evaluation.Column, str]:
    """Return the ONNX files to compare on the serving runtime, the champion's where it fits.

    Parameters
    ----------
    parent
        Tag of the dense parent.
    candidate
        The candidate's graph, which is in no registry yet.
    """
    found: dict[evaluation.Column, str] = {
        "parent": str(registry.path(parent) / artifact.MODEL),
        "candidate": str(candidate),
    }
    name = parent.partition(":")[0]
    if champion(registry, name, data) is not None:
        found["champion"] = str(registry.path(registry.aliases(name)["champion"]) / artifact.MODEL)
    return found


def _served(version: runtime.Runtime, split: project.Split) -> labels.Floats:
    step = train.PREDICT_ROWS
    parts = [
        version.predict({name: array[at : at + step] for name, array in split.inputs.items()})
        for at in range(0, split.rows, step)
    ]
    return np.concatenate([part.scores for part in parts])


def race(
    parent: Path, candidate: Path, split: project.Split, *, timer: clock.Clock, confidence: float
) -> latency.Latency:
    """Time two graphs on one real row, in the runtime that serves."""
    return latency.race(
        runtime.Session(parent),
        runtime.Session(candidate),
        split.take(np.arange(1)).inputs,
        timer=timer,
        confidence=confidence,
    )


def expected(judged: evaluation.Evaluation, column: evaluation.Column) -> tuple[float, int]:
    """Return the mean score to expect of live traffic, and the rows that this rests on.

    Production says it better than the holdout, even with few rows. But few rows may be lucky, and a
    level set by luck would read as decay later; so two right and two wrong answers are added to
    them, which pulls a perfect score on 75 rows down to 0.97.

    References
    ----------
    Agresti, Coull, Approximate is better than "exact" for interval estimation of binomial
    proportions, The American Statistician 52 (1998), 119-126.
    """
    table = judged.production
    if table is None or table.rows < material.MIN_JUDGED_ROWS:
        return judged.holdout.score(column), judged.holdout.rows
    return (table.score(column) * table.rows + 2.0) / (table.rows + 4.0), table.rows
