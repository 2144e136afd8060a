"""What is worth knowing about the data before trusting what was learned from it: pure checks.

Findings never stop a retraining; they are figures and warnings in the version's card. A row that
turns up in training and in the holdout makes the holdout too kind, so such rows are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
import numpy as np

from coppice import project
from retrain import dataset

FEW_ROWS = 30
"""A class with fewer holdout rows gets a warning: its drop cannot be told from chance."""
LEAKED = 0.01
"""Share of holdout rows found in training from which on there is a warning."""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Figures about the data, and what a person should look at."""

    figures: dict[str, float]
    warnings: tuple[str, ...] = ()


def inspect(data: project.Data, production: dataset.Production | None = None) -> Quality:
    """Check the project's data, and the production rows where there are some."""
    figures: dict[str, float] = {}
    warnings: list[str] = []
    for check in (_rows, _classes, _columns, _leaks):
        found, said = check(data)
        figures |= found
        warnings += said
    if production is not None:
        found, said = _labels(production)
        figures |= found
        warnings += said
    return Quality(figures=figures, warnings=tuple(warnings))


def fingerprints(split: project.Split) -> list[bytes]:
    """Return a digest of each row's inputs; equal rows have equal ones."""
    columns = [np.ascontiguousarray(array) for _, array in sorted(split.inputs.items())]
    return [
        hashlib.blake2b(
            b"".join(column[row].tobytes() for column in columns), digest_size=16
        ).digest()
        for row in range(split.rows)
    ]


def digest(splits: Mapping[str, project.Split]) -> str:
    """Return one digest of everything in some splits: the snapshot that a lineage names."""
    whole = hashlib.sha256()
    for name, split in sorted(splits.items()):
        arrays = {"": split.targets, **split.inputs, **split.slices}
        for field, array in sorted(arrays.items()):
            whole.update(f"{name}/{field}/{array.dtype}/{array.shape}".encode())
            whole.update(array.astype(str).tobytes() if array.dtype == object else array.tobytes())
    return whole.hexdigest()


def _rows(data: project.Data) -> tuple[dict[str, float], list[str]]:
    counts = {
        "train_rows": float(data.train.rows),
        "validation_rows": float(data.validation.rows),
        "holdout_rows": float(data.holdout.rows),
    }
    return counts, []


def _classes(data: project.Data) -> tuple[dict[str, float], list[str]]:
    if not data.classes:
        return {}, []
    train, holdout = (
        np.bincount(split.targets.astype(np.int64), minlength=len(data.classes))
        for split in (data.train, data.holdout)
    )
    absent = [name for name, rows in zip(data.classes, train, strict=True) if rows == 0]
    rare = [name for name, rows in zip(data.classes, holdout, strict=True) if rows < FEW_ROWS]
    warnings = [f"no training row has the class {name!r}" for name in absent]
    if rare:
        warnings.append(f"fewer than {FEW_ROWS} holdout rows for the classes {', '.join(rare)}")
    return {"rarest_class_share": float(train.min() / train.sum())}, warnings


def _columns(data: project.Data) -> tuple[dict[str, float], list[str]]:
    constant, names = 0, []
    for name, array in data.train.inputs.items():
        flat = array.reshape(len(array), -1)
        same = int((flat == flat[:1]).all(axis=0).sum())
        constant += same
        if same == flat.shape[1]:
            names.append(name)
    warnings = [f"input {name!r} is the same in every training row" for name in names]
    return {"constant_columns": float(constant)}, warnings


def _leaks(data: project.Data) -> tuple[dict[str, float], list[str]]:
    train = fingerprints(data.train)
    seen = set(train)
    shares = {
        name: float(np.mean([row in seen for row in fingerprints(getattr(data, name))]))
        for name in ("holdout", "validation")
    }
    figures = {
        "duplicate_train_share": 1.0 - len(seen) / len(train),
        "leaked_share": shares["holdout"],
        "validation_leaked_share": shares["validation"],
    }
    return figures, [
        f"{share:.1%} of the {name} rows are in the training split too"
        for name, share in shares.items()
        if share > LEAKED
    ]


def _labels(production: dataset.Production) -> tuple[dict[str, float], list[str]]:
    figures = {
        "production_rows": float(production.rows),
        "held_back_rows": float(production.held_back.rows),
        "skipped_requests": float(sum(production.skipped.values())),
    }
    for source, rows in production.sources.items():
        figures[f"labels_{source}_share"] = rows / max(production.rows, 1)
    warnings = [
        f"{count} labelled requests were left out: {reason}"
        for reason, count in production.skipped.items()
    ]
    if figures.get("labels_model-assisted_share", 0.0) > 0.5:
        warnings.append("most labels were suggested by a model, so they flatter that model")
    independent = production.independent_share
    if independent is not None:
        figures["independent_share"] = independent
        if independent < 0.5:
            warnings.append("most labels learned from were given in sight of a prediction")
    return figures, warnings
