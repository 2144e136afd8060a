"""Whether the data can be trusted: classes, copies, leaks, columns that say nothing or stray.

A holdout row that training holds too flatters every model, and a near copy of one does nearly as
much. Findings are shown with the rows named, so that a person can look; nothing is deleted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from coppice import project
from retrain.evaluate import columns, duplicates, rows, section

MOST_NAMED = 50
"""Rows or columns named in one table."""
IMBALANCED = 10.0
"""Rows of the largest class over those of the smallest from which on it is mentioned."""
LEAKED = 0.01
"""Share of leaked holdout rows from which on the sentence says so; below, the figures do."""
_PAIRS = (("train", "validation"), ("train", "holdout"), ("validation", "holdout"))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Findings:
    """All that was found, before it is put into words."""

    overlaps: dict[str, duplicates.Overlap]
    """By the two splits, e.g. `train and holdout`."""
    repeated: tuple[duplicates.Twins, ...]
    conflicts: tuple[duplicates.Twins, ...]
    constant: rows.Index
    missing: rows.Matrix
    strays: tuple[columns.Stray, ...]
    counts: dict[str, rows.Index]
    """Rows by class, by split; empty for a regression."""

    @property
    def imbalance(self) -> float:
        counts = self.counts["train"]
        return float(counts.max() / max(counts.min(), 1))


def measure(subject: section.Subject) -> section.Section:
    """Look for leaks, copies, imbalance, and columns that are constant, missing or stray."""
    found = _find(subject)
    return section.Section(
        name="data",
        title="Data",
        status="measured",
        sentence=_sentence(found, subject.data),
        figures=_figures(found, subject.data),
        tables=tuple(table for table in _tables(found, subject.data) if table.rows),
        exemplars=tuple(_leaked_rows(found, subject.data)),
    )


def _find(subject: section.Subject) -> _Findings:
    data, seed = subject.data, subject.rules.seed
    repeated = duplicates.within(data.train)
    targets = data.train.targets
    return _Findings(
        overlaps=_overlaps(subject, seed),
        repeated=repeated,
        conflicts=tuple(each for each in repeated if targets[each.row] != targets[each.other]),
        constant=columns.constant(data.train),
        missing=np.maximum(columns.missing(data.train), columns.missing(data.holdout)),
        strays=columns.strays(data.train, data.holdout, alpha=1.0 - subject.rules.confidence),
        counts=_counts(data),
    )


def _overlaps(subject: section.Subject, seed: int) -> dict[str, duplicates.Overlap]:
    splits = {name: getattr(subject.data, name) for name in ("train", "validation", "holdout")}
    spaces = {name: duplicates.Space(splits[name], seed=seed) for name in ("train", "validation")}
    found = {
        f"{known} and {other}": duplicates.overlap(splits[known], splits[other], spaces[known])
        for known, other in _PAIRS
    }
    production = subject.production
    if production is not None and production.held_back.rows and production.recent.rows:
        space = duplicates.Space(production.recent, seed=seed)
        found["recent and held back"] = duplicates.overlap(
            production.recent, production.held_back, space
        )
    return found


def _counts(data: project.Data) -> dict[str, rows.Index]:
    if not data.classes:
        return {}
    return {
        name: np.bincount(getattr(data, name).targets.astype(np.int64), minlength=len(data.classes))
        for name in ("train", "validation", "holdout")
    }


def _figures(found: _Findings, data: project.Data) -> dict[str, section.Figure]:
    leaked = found.overlaps["train and holdout"]
    shares = {
        "leaked_share": leaked.exact_share,
        "near_leaked_share": leaked.near_share,
        "validation_leaked_share": found.overlaps["train and validation"].exact_share,
        "duplicate_train_share": len(found.repeated) / data.train.rows,
        "conflicting_train_share": len(found.conflicts) / data.train.rows,
        "missing_share": float(found.missing.mean()) if len(found.missing) else 0.0,
    }
    if "recent and held back" in found.overlaps:
        shares["held_back_leaked_share"] = found.overlaps["recent and held back"].exact_share
    plain = {
        "constant_columns": float(len(found.constant)),
        "stray_columns": float(len(found.strays)),
    }
    if found.counts:
        plain["imbalance"] = found.imbalance
    return {
        **{
            name: section.Figure(value=share, unit="share", better="lower")
            for name, share in shares.items()
        },
        **{name: section.Figure(value=value, better="lower") for name, value in plain.items()},
    }


def _sentence(found: _Findings, data: project.Data) -> str:
    said = [*_said_of_leaks(found), *_said_of_classes(found, data), *_said_of_columns(found, data)]
    if not said:
        return "No leak, no notable copies, and no column that strays was found."
    return " ".join(said)


def _said_of_leaks(found: _Findings) -> Iterator[str]:
    leaked = found.overlaps["train and holdout"]
    if leaked.exact_share > LEAKED:
        yield (
            f"{len(leaked.exact)} of {leaked.rows} holdout rows are in the training split too, so "
            f"the scores on it flatter."
        )
    if leaked.near_share > LEAKED:
        yield (
            f"{len(leaked.near)} of {leaked.compared} holdout rows are nearly the same as a "
            f"training row."
        )
    production = found.overlaps.get("recent and held back")
    if production is not None and production.exact_share > LEAKED:
        yield (
            f"{len(production.exact)} of {production.rows} held-back production rows are learned "
            f"from under another request id."
        )
    if found.conflicts:
        yield f"{len(found.conflicts)} training rows repeat another with a different label."


def _said_of_classes(found: _Findings, data: project.Data) -> Iterator[str]:
    if not found.counts:
        return
    absent = [
        name for name, rows in zip(data.classes, found.counts["train"], strict=True) if not rows
    ]
    if absent:
        yield f"No training row has the class {', '.join(absent)}."
    elif found.imbalance >= IMBALANCED:
        yield f"The largest class has {found.imbalance:.0f} times the rows of the smallest."


def _said_of_columns(found: _Findings, data: project.Data) -> Iterator[str]:
    if found.missing.any():
        yield f"{np.count_nonzero(found.missing)} columns lack values."
    if found.strays:
        worst = rows.column_name(data.train, found.strays[0].column)
        yield (
            f"{len(found.strays)} columns leave in the holdout the range they had in training, "
            f"most of all {worst}."
        )


def _tables(found: _Findings, data: project.Data) -> Iterator[section.Table]:
    yield section.Table(
        title="Rows by class",
        columns=("class", *found.counts),
        rows=tuple(
            (name, *(int(counts[at]) for counts in found.counts.values()))
            for at, name in enumerate(data.classes)
        ),
    )
    yield section.Table(
        title="Rows that two splits share",
        columns=("splits", "rows", "exact copies", "compared for near ones", "near copies"),
        rows=tuple(
            (name, each.rows, len(each.exact), each.compared, len(each.near))
            for name, each in found.overlaps.items()
        ),
    )
    for name, each in found.overlaps.items():
        first, second = name.split(" and ")
        yield _twins(f"Copies in {name}", (second, first), [*each.exact, *each.near])
    yield _twins("Training rows that repeat another", ("row", "first"), found.repeated)
    yield _twins("Same row, different label", ("row", "first"), found.conflicts)
    yield _stray_columns(found, data)
    yield section.Table(
        title="Columns without information or values",
        columns=("column", "constant", "share missing"),
        rows=tuple(_empty_columns(found, data)),
    )


def _twins(title: str, names: tuple[str, str], twins: Sequence[duplicates.Twins]) -> section.Table:
    return section.Table(
        title=title if len(twins) <= MOST_NAMED else f"{title} ({MOST_NAMED} of {len(twins)})",
        columns=(f"{names[0]} row", f"{names[1]} row", "distance, in usual ones"),
        rows=tuple((each.row, each.other, round(each.distance, 4)) for each in twins[:MOST_NAMED]),
    )


def _stray_columns(found: _Findings, data: project.Data) -> section.Table:
    return section.Table(
        title="Columns that leave the training range in the holdout",
        columns=("column", "lowest", "highest", "rows outside", "chance of that", "first rows"),
        rows=tuple(
            (
                rows.column_name(data.train, each.column),
                each.low,
                each.high,
                len(each.outside),
                each.chance,
                ", ".join(map(str, each.outside[:10])),
            )
            for each in found.strays[:MOST_NAMED]
        ),
    )


def _empty_columns(found: _Findings, data: project.Data) -> Iterator[tuple[section.Cell, ...]]:
    constant = set(found.constant.tolist())
    noted = sorted(constant | set(np.flatnonzero(found.missing).tolist()))
    for column in noted[:MOST_NAMED]:
        name = rows.column_name(data.train, column)
        yield name, "yes" if column in constant else "no", float(found.missing[column])


def _leaked_rows(found: _Findings, data: project.Data) -> Iterator[section.Exemplar]:
    leaked = found.overlaps["train and holdout"]
    for twins in [*leaked.exact, *leaked.near][:4]:
        kind = "is" if twins.distance == 0 else "is nearly"
        caption = f"holdout row {twins.row} {kind} training row {twins.other}"
        yield rows.exemplar(data.holdout, twins.row, caption)
