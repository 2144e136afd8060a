"""Where a candidate comes from: its data, the terms they may be used under, and its parent.

What the project does not say is named as missing, so that a reader need not guess. Digests are
those of the rows themselves: the same digest means the same data, whatever they are called.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TypeAlias

from coppice import artifact, errors, project
from retrain import card, dataset, quality
from retrain.evaluate import section

_SHORT = 16
"""Characters of a digest that are shown; the card's lineage has the whole."""
_DAY = 86_400.0
Facts: TypeAlias = tuple[tuple[section.Cell, ...], ...]


def measure(subject: section.Subject) -> section.Section:
    """Say where the rows, the labels and the dense parent come from."""
    production = subject.production
    if production is not None and not production.rows:
        production = None
    return section.Section(
        name="provenance",
        title="Provenance",
        status="measured",
        sentence=" ".join(_said(subject.data, production)),
        figures=_figures(subject, production),
        tables=tuple(_tables(subject, production)),
    )


def missing(data: project.Data) -> tuple[str, ...]:
    """Return what a project does not say about its data, as the fields of `coppice.project.Data`.

    >>> rows = project.Split(inputs={}, targets=())
    >>> missing(project.Data(train=rows, validation=rows, holdout=rows, source="a table"))
    ('licence', 'collected_from', 'collected_to')
    """
    fields = ("source", "licence", "collected_from", "collected_to")
    return tuple(field for field in fields if not getattr(data, field))


def _said(data: project.Data, production: dataset.Production | None) -> Iterator[str]:
    yield (
        f"Made from {data.train.rows} training rows"
        f"{f' of {data.source}' if data.source else ''}"
        f"{f' ({data.licence})' if data.licence else ''}."
    )
    if production is not None:
        yield f"{production.rows} production rows{_when(production)} went into it or judged it."
    unsaid = missing(data)
    if unsaid:
        yield f"Not stated in coppice.project.Data: {', '.join(unsaid)}."


def _when(production: dataset.Production) -> str:
    if production.span is None:
        return ""
    first, last = (_day(moment) for moment in production.span)
    return f" of {first}" if first == last else f" of {first} to {last}"


def _day(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).date().isoformat()


def _figures(
    subject: section.Subject, production: dataset.Production | None
) -> dict[str, section.Figure]:
    data = subject.data
    found = {
        "train_rows": float(data.train.rows),
        "validation_rows": float(data.validation.rows),
        "holdout_rows": float(data.holdout.rows),
        "learned_rows": float(subject.training.rows),
        "facts_missing": float(len(missing(data))),
    }
    if production is not None:
        found["production_rows"] = float(production.rows)
        if production.span is not None:
            found["production_days"] = (production.span[1] - production.span[0]) / _DAY
    return {name: section.Figure(value=value) for name, value in found.items()}


def _tables(
    subject: section.Subject, production: dataset.Production | None
) -> Iterator[section.Table]:
    yield _facts("The project's data", tuple(_origin(subject.data)))
    yield section.Table(
        title="Splits",
        columns=("split", "rows", "digest"),
        rows=tuple(
            (name, split.rows, quality.digest({name: split})[:_SHORT])
            for name, split in _splits(subject, production).items()
        ),
    )
    if production is not None:
        yield _facts("Production rows", tuple(_production(production)))
    yield _facts("The dense parent", tuple(_parent(subject)))


def _facts(title: str, facts: Facts) -> section.Table:
    return section.Table(title=title, columns=("what", ""), rows=facts)


def _origin(data: project.Data) -> Iterator[tuple[section.Cell, ...]]:
    for field in ("source", "licence", "collected_from", "collected_to"):
        yield field.replace("_", " "), str(getattr(data, field) or "not stated")
    yield "classes", len(data.classes) or "none, a regression"
    yield "inputs", ", ".join(data.train.inputs)
    yield "slices", ", ".join(data.train.slices) or "none declared"


def _splits(
    subject: section.Subject, production: dataset.Production | None
) -> dict[str, project.Split]:
    data = subject.data
    found = {"train": data.train, "validation": data.validation, "holdout": data.holdout}
    if production is not None:
        found |= {"production, older": production.older, "production, recent": production.recent}
        found |= {"production, held back": production.held_back}
    found["learned from, repeats included"] = subject.training
    return {name: split for name, split in found.items() if split.rows}


def _production(production: dataset.Production) -> Iterator[tuple[section.Cell, ...]]:
    if production.span is not None:
        first, last = (
            dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="seconds")
            for moment in production.span
        )
        yield "first asked", first
        yield "last asked", last
    for version, count in production.versions.items():
        yield f"answered by {version}", count
    for source, count in production.sources.items():
        yield f"labels from {source}", count
    for reason, count in production.skipped.items():
        yield f"left out: {reason}", count


def _parent(subject: section.Subject) -> Iterator[tuple[section.Cell, ...]]:
    graph = subject.graphs.get("parent")
    if graph is None:
        yield "lineage", "not known"
        return
    folder = graph.path.parent
    try:
        found, version = card.read(folder), artifact.tag(folder)
    except (errors.ArtifactError, OSError) as cause:
        yield "lineage", f"cannot be read: {cause}"
        return
    lineage = found.lineage
    yield "version", version
    yield "origin", lineage.origin
    yield "why", lineage.reason
    yield "data", lineage.data[:_SHORT]
    yield "fingerprint", lineage.fingerprint[:_SHORT]
    yield "seed", lineage.seed
    yield "rows", ", ".join(f"{name} {count}" for name, count in lineage.rows.items())
    yield "made by", ", ".join(f"{name} {version}" for name, version in found.libraries.items())
