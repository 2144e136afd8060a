"""Prove a candidate: ask all models the same rows, race the graphs, and say what to expect live."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from torch import nn

from coppice import artifact, clock, labels, project, runtime
from coppice.registry.base import Registry
from retrain import choosing, material, reference, train
from retrain.evaluate import answers, evaluation, latency
from retrain.pruning import schedule

Graphs: TypeAlias = Mapping[evaluation.Column, runtime.Packed]
"""What serves, or would, by column."""


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


def wish(own: project.Project, classes: tuple[str, ...]) -> choosing.Wish:
    """Return what this project wants to be served by, and how it judges that."""
    tree = own.settings
    return choosing.Wish(
        section=tree.pack, rules=rules(own, classes), threads=tree.serve.model_threads
    )


def evaluate(
    used: material.Material,
    models: Mapping[evaluation.Column, nn.Module],
    how: evaluation.Rules,
    *,
    served: Mapping[evaluation.Column, runtime.Packed] = MappingProxyType({}),
) -> evaluation.Evaluation:
    """Let every model answer the holdout, and the held-back production rows where there are some.

    Parameters
    ----------
    models
        Asked in torch.
    served
        Asked as they are served: the candidate, and the version that serves now.
    """

    def table(split: project.Split) -> evaluation.Table:
        asked: dict[evaluation.Column, labels.Floats] = {
            column: train.predict(model, split.inputs, task=how.task)
            for column, model in models.items()
        }
        asked |= {column: answers.of_graph(packed, split) for column, packed in served.items()}
        return evaluation.tabulate(asked, split, how)

    return evaluation.Evaluation(
        holdout=table(used.data.holdout),
        production=table(used.held_back) if used.held_back else None,
    )


def graphs(
    registry: Registry, parent: str, candidate: runtime.Packed, data: project.Data
) -> dict[evaluation.Column, runtime.Packed]:
    """Return what serves, or would: candidate, dense parent, and the champion where it fits.

    Parameters
    ----------
    parent
        Tag of the dense parent.
    candidate
        The candidate's graph, which is in no registry yet.
    """
    found: dict[evaluation.Column, runtime.Packed] = {
        "parent": runtime.packed(registry.path(parent)),
        "candidate": candidate,
    }
    tag = registry.aliases(parent.partition(":")[0]).get("champion")
    if tag is None:
        return found
    manifest = artifact.verify(registry.path(tag), tag)
    same = manifest.inputs == reference.input_specs(data.train)
    if same and manifest.classes == data.classes:
        found["champion"] = runtime.packed(registry.path(tag))
    return found


def race(
    parent: runtime.Packed,
    candidate: runtime.Packed,
    split: project.Split,
    *,
    timer: clock.Clock,
    confidence: float,
) -> latency.Latency:
    """Time two graphs on one real row, each as it is served."""
    return latency.race(
        runtime.load(parent),
        runtime.load(candidate),
        split.take(np.arange(1)).inputs,
        timer=timer,
        confidence=confidence,
    )


def cost(
    split: project.Split,
    models: Mapping[evaluation.Column, nn.Module],
    graphs: Mapping[evaluation.Column, runtime.Packed] = MappingProxyType({}),
) -> dict[str, float]:
    """Return what models cost, by column.

    Multiply-accumulates for one row, trained parameters and how many of them are not zero; of the
    graphs that are served, bytes once they are compressed (zlib), as in transport and in storage.
    """
    figures: dict[str, float] = {}
    for name, model in models.items():
        found = schedule.cost(model, split)
        nonzero = sum(int(parameter.count_nonzero()) for parameter in model.parameters())
        figures |= {
            f"{name}_macs": float(found.macs),
            f"{name}_parameters": float(found.parameters),
            f"{name}_nonzero": float(nonzero),
        }
    return figures | {
        f"{name}_compressed_bytes": float(_compressed(graphs[name].path))
        for name in models
        if name in graphs
    }


def _compressed(path: Path) -> int:
    weights = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    return sum(len(zlib.compress(each.read_bytes())) for each in (path, *weights))


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
