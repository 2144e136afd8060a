"""Signs that somebody planted training rows: spectral signatures of each class.

A backdoor is taught by rows that carry a trigger and a false label. To the network such rows look
alike and unlike the rest of their class, so inside that class they lie far out along the one
direction in which the embedding of the dense parent varies most. For each class the rows are
centred and laid along that direction; rows further from the median than `FAR` robust deviations are
suspects.

Suspects are shown to a person, never deleted: rare but honest rows lie far out too. An attack is
missed where it poisons half of a class or more, leaves labels as they should be, or was made to
hide from this very test.

References
----------
Tran, Li, Madry, Spectral signatures in backdoor attacks, NeurIPS 2018. Koh, Steinhardt, Liang,
Stronger data poisoning attacks break data sanitization defenses, Machine Learning 111 (2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from coppice import project
from retrain import dataset
from retrain.evaluate import embedding, rows, section

FAR = 6.0
"""Robust standard deviations from the median at which a row is a suspect. Over the ten classes of
500 clean digit scans the furthest row lies 5.4 out, planted ones 6 to 16."""
FEWEST_ROWS = 20
"""Classes with fewer rows have no direction that can be told from chance."""
FEWEST_SUSPECTS = 2
"""A single row far out is an oddity; a trigger that works needs several."""
EXACT = 512
"""Rows or columns up to which all directions are computed; beyond, only the first is sought."""
MOST_NAMED = 50
SHOWN = 4
_STEPS = 24
"""Bars of the picture of all deviations."""


class Signature(NamedTuple):
    """How the rows of one class lie along its main direction."""

    label: int
    members: rows.Index
    """Row numbers in the split."""
    deviations: rows.Matrix
    """Distance of each from the median, in robust standard deviations."""
    weight: float
    """Share of the class's variance along the direction."""

    @property
    def suspects(self) -> rows.Index:
        """Rows far out, the furthest first; none where there is only one."""
        order = np.argsort(-self.deviations, kind="stable")
        far = order[self.deviations[order] > FAR]
        return far if len(far) >= FEWEST_SUSPECTS else far[:0]


def signature(label: int, members: rows.Index, seen: rows.Matrix) -> Signature:
    """Lay the rows of one class along the direction in which they vary most.

    Parameters
    ----------
    members
        Their row numbers.
    seen
        Their embedding [rows, width].

    Examples
    --------
    >>> planted = np.array([[0.0], [1.0], [2.0], [3.0], [40.0], [41.0]])
    >>> found = signature(0, np.arange(6), planted)
    >>> sorted(found.members[found.suspects].tolist())
    [4, 5]
    """
    centred = seen - seen.mean(axis=0)
    direction, length = _main_direction(centred)
    places = centred @ direction
    away = np.abs(places - np.median(places))
    # 1.4826 times the median deviation is the standard deviation of a normal sample.
    unit = 1.4826 * float(np.median(away))
    whole = float((centred**2).sum())
    return Signature(
        label=label,
        members=members,
        deviations=away / unit if unit > 0 else np.zeros(len(away)),
        weight=length**2 / whole if whole > 0 else 0.0,
    )


def _main_direction(centred: rows.Matrix) -> tuple[rows.Matrix, float]:
    """Return the first right singular vector and its singular value."""
    from sklearn.utils import extmath

    if min(centred.shape) <= EXACT:
        _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    else:
        _, lengths, directions = extmath.randomized_svd(centred, 1, random_state=0)
    return np.asarray(directions[0]), float(lengths[0])


def signatures(split: project.Split, seen: rows.Matrix) -> list[Signature]:
    """Return the signature of every class that has rows enough."""
    found = []
    for label in np.unique(split.targets).tolist():
        members = np.flatnonzero(split.targets == label)
        if len(members) >= FEWEST_ROWS:
            found.append(signature(int(label), members, seen[members]))
    return found


def measure(subject: section.Subject) -> section.Section:
    """Look for planted rows in the training split with the dense parent's eyes."""
    reason = _reason(subject)
    if reason:
        return _blank(reason)
    # Production rows are repeated in `training`, so each is looked at once.
    split = _distinct(subject)
    seen = embedding.embed(subject.models["parent"], split)
    if seen is None:
        return _blank("the network does not end in a linear layer that reads one vector a row")
    found = signatures(split, seen)
    return section.Section(
        name="poisoning",
        title="Poisoning",
        status="measured",
        sentence=_sentence(found, subject.data.classes),
        figures=_figures(found, split),
        tables=tuple(_tables(found, subject.data.classes)),
        charts=(_chart(found),) if found else (),
        exemplars=tuple(_shown(found, split, subject.data.classes)),
    )


def _reason(subject: section.Subject) -> str:
    if not subject.data.classes:
        return "spectral signatures are defined for classes only"
    return "" if "parent" in subject.models else "there is no dense parent to look with"


def _blank(reason: str) -> section.Section:
    return section.Section(
        name="poisoning",
        title="Poisoning",
        status="not measured",
        sentence=f"Not measured: {reason}.",
    )


def _distinct(subject: section.Subject) -> project.Split:
    production = subject.production
    if production is None or not (production.older.rows + production.recent.rows):
        return subject.data.train
    parts = [subject.data.train, production.older, production.recent]
    return dataset.concatenate([part for part in parts if part.rows])


def _sentence(found: Sequence[Signature], classes: Sequence[str]) -> str:
    flagged = [each for each in found if len(each.suspects)]
    if not flagged:
        return "No class has rows that stand apart as planted ones would."
    named = ", ".join(f"{len(each.suspects)} of {classes[each.label]}" for each in flagged)
    return (
        f"Training rows stand apart from their class as planted ones would: {named}. "
        "Look at them; nothing was removed."
    )


def _figures(found: Sequence[Signature], split: project.Split) -> dict[str, section.Figure]:
    suspects = sum(len(each.suspects) for each in found)
    furthest = max((float(each.deviations.max()) for each in found), default=0.0)
    return {
        "suspects": section.Figure(value=float(suspects), better="lower"),
        "suspect_share": section.Figure(value=suspects / split.rows, unit="share", better="lower"),
        "furthest": section.Figure(value=furthest, better="lower"),
        "classes_examined": section.Figure(value=float(len(found))),
    }


def _tables(found: Sequence[Signature], classes: Sequence[str]) -> Iterator[section.Table]:
    yield section.Table(
        title="How the rows of each class lie along its main direction",
        columns=("class", "rows", "share of variance", "furthest, in deviations", "suspects"),
        rows=tuple(
            (
                classes[each.label],
                len(each.members),
                round(each.weight, 3),
                round(float(each.deviations.max()), 2),
                len(each.suspects),
            )
            for each in found
        ),
    )
    named = list(_named(found))[:MOST_NAMED]
    if named:
        yield section.Table(
            title="Suspects, the furthest of each class first",
            columns=("row", "labelled", "deviations from the median"),
            rows=tuple((row, classes[label], round(away, 2)) for row, label, away in named),
        )


def _named(found: Sequence[Signature]) -> Iterator[tuple[int, int, float]]:
    for each in found:
        for place in each.suspects.tolist():
            yield int(each.members[place]), each.label, float(each.deviations[place])


def _chart(found: Sequence[Signature]) -> section.Chart:
    """Draw how many rows lie how far out, all classes together."""
    deviations = np.concatenate([each.deviations for each in found])
    top = max(float(deviations.max()), FAR)
    counts, edges = np.histogram(deviations, bins=_STEPS, range=(0.0, top))
    middles = (edges[:-1] + edges[1:]) / 2.0
    points = zip(middles.round(3).tolist(), counts.tolist(), strict=True)
    return section.Chart(
        title="Distance of training rows from the middle of their class",
        kind="lines",
        x="robust deviations",
        y="rows",
        series={"rows": tuple((float(x), float(y)) for x, y in points)},
    )


def _shown(
    found: Sequence[Signature], split: project.Split, classes: Sequence[str]
) -> Iterator[section.Exemplar]:
    for row, label, away in list(_named(found))[:SHOWN]:
        caption = f"training row {row}, labelled {classes[label]}: {away:.1f} deviations out"
        yield rows.exemplar(split, row, caption)
