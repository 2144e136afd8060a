"""What a simple model says about rows that it did not learn from: cross-validated answers.

The network itself cannot be asked about its training rows: it has learned wrong labels by heart. A
linear classifier on the raw columns has not. Where it is much worse than the network it would call
every hard row suspect, and the classifier then reads the network's embedding instead; some of the
wrong labels that the network has swallowed are missed in that case. Where that is not good enough,
the network itself can be trained anew without each part of the rows in turn (`trained`).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from coppice import project
from coppice.labels import Floats
from retrain import network, train
from retrain.evaluate import rows

FOLDS = 5
MOST_VALUES = 20_000_000
"""Rows times columns, and a tenth of it rows times classes, that are examined; beyond, evenly
spread rows stand for all."""
BEHIND = 0.1
"""Accuracy that the classifier on raw columns may lack before it reads the embedding instead."""
MOST_COLUMNS = 64
"""Wider rows are reduced to so many principal components."""
STRENGTH = 0.1
"""Inverse penalty of the classifier: strong, so that no single row bends it."""

Basis: TypeAlias = Literal["raw columns", "embedding", "network"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Outside:
    """Answers to rows by a classifier that did not learn from them.

    Attributes
    ----------
    chosen
        The rows that were examined.
    probabilities
        Of each class, [examined rows, classes]; 0 for classes that the classifier never saw.
    basis
        What it read.
    accuracy
        Share of the rows for which it names their label.
    """

    chosen: rows.Index
    probabilities: Floats
    basis: Basis
    accuracy: float


def answers(
    split: project.Split,
    classes: int,
    *,
    embed: Callable[[project.Split], rows.Matrix | None],
    rival: float,
    seed: int,
) -> Outside | None:
    """Cross-validate a linear classifier; `None` where there is nothing that it could learn.

    Parameters
    ----------
    embed
        The network's view of rows, asked for only where the raw columns do not suffice.
    rival
        Accuracy of the network on rows that it did not learn from.
    """
    columns = sum(block.shape[1] for block in rows.blocks(split))
    chosen = _learnable(split, MOST_VALUES // max(10 * classes, columns))
    part = split.take(chosen)
    if len(np.unique(part.targets)) < 2:
        return None
    found = [_validated(rows.matrix(part), part, chosen, "raw columns", classes, seed)]
    if found[0].accuracy < rival - BEHIND:
        seen = embed(part)
        if seen is not None:
            found.append(_validated(seen, part, chosen, "embedding", classes, seed))
    return max(found, key=lambda each: each.accuracy)


def trained(
    own: project.Project, split: project.Split, classes: int, *, folds: int, seed: int
) -> Outside:
    """Train the project's own network anew without each part of the rows, and ask it about them.

    The plan is that of a dense parent, so this takes `folds` times nearly as long as one.
    """
    targets = split.targets.astype(np.int64)
    tree = own.settings
    plan = train.FitPlan(
        task=tree.project.task,
        epochs=tree.train.epochs,
        batch_size=tree.train.batch_size,
        learning_rate=tree.train.learning_rate,
        weight_decay=tree.train.weight_decay,
        seed=seed,
    )
    whole = np.zeros((split.rows, classes))
    parts = _folds(targets, folds, seed)
    for part in range(folds):
        model = network.build(own.build_model, seed=seed)
        train.fit(model, split.take(parts != part), plan)
        asked = split.take(parts == part)
        whole[parts == part] = train.predict(model, asked.inputs, task=plan.task)
    accuracy = float((whole.argmax(axis=1) == targets).mean())
    return Outside(
        chosen=np.arange(split.rows), probabilities=whole, basis="network", accuracy=accuracy
    )


def _learnable(split: project.Split, most: int) -> rows.Index:
    """Choose rows of classes that are there once for every fold."""
    names, counts = np.unique(split.targets, return_counts=True)
    enough = np.flatnonzero(np.isin(split.targets, names[counts >= FOLDS]))
    return enough[rows.spread(len(enough), most)] if len(enough) else enough


def _validated(
    values: rows.Matrix,
    part: project.Split,
    chosen: rows.Index,
    basis: Basis,
    classes: int,
    seed: int,
) -> Outside:
    targets = part.targets.astype(np.int64)
    whole = np.zeros((part.rows, classes))
    folds = _folds(targets, FOLDS, seed)
    for fold in range(FOLDS):
        inside, outside = folds != fold, folds == fold
        if not outside.any():
            continue
        model = _classifier(values.shape[1], int(inside.sum()), seed)
        _fit(model, values[inside], targets[inside])
        whole[np.ix_(outside, model.classes_)] = model.predict_proba(values[outside])
    accuracy = float((whole.argmax(axis=1) == targets).mean())
    return Outside(chosen=chosen, probabilities=whole, basis=basis, accuracy=accuracy)


def _fit(model: Any, values: rows.Matrix, targets: rows.Index) -> None:
    from sklearn import exceptions

    with warnings.catch_warnings():
        # A classifier that has nearly settled judges as well; its accuracy is measured anyway.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        model.fit(values, targets)


def _folds(targets: rows.Index, count: int, seed: int) -> rows.Index:
    """Deal the rows of each class out to the folds, after shuffling them."""
    random = np.random.default_rng(seed % 2**32)
    folds = np.zeros(len(targets), np.int64)
    for name in np.unique(targets):
        members = random.permutation(np.flatnonzero(targets == name))
        folds[members] = np.arange(len(members)) % count
    return folds


def _classifier(width: int, rows_inside: int, seed: int) -> Any:
    from sklearn import decomposition, linear_model, pipeline, preprocessing

    steps: list[Any] = [preprocessing.StandardScaler()]
    if width > MOST_COLUMNS:
        kept = min(MOST_COLUMNS, rows_inside - 1)
        steps.append(decomposition.PCA(kept, random_state=seed % 2**32))
    steps.append(linear_model.LogisticRegression(C=STRENGTH, max_iter=500))
    return pipeline.make_pipeline(*steps)
