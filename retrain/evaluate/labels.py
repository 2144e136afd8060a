"""Whether the labels can be trusted: which are probably wrong, and which only echo the model.

Two questions. Of labels that came with the data, and of those that production sent: which ones
would a model that did not learn from them contradict? And of production labels alone: how many were
given blind, and do those that were not agree suspiciously often with the prediction?

Suspect labels are estimates, with hard rows among them; a person decides, nothing is deleted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np

from coppice import project
from retrain import dataset, labelling, train
from retrain.evaluate import (
    embedding,
    feedback_loop,
    intervals,
    label_issues,
    outside,
    rows,
    section,
)

MOST_NAMED = 50
"""Suspect labels named for each split, the least likely first."""
SHOWN = 2
"""Suspect rows of each split shown as pictures."""
JUDGES: dict[outside.Basis, str] = {
    "raw columns": "a linear classifier on the raw columns, cross-validated",
    "embedding": "a linear classifier on the embedding, cross-validated",
    "network": "the network itself, trained anew without them",
}
Counts: TypeAlias = tuple[int, int, int]
"""Rows, rows whose answer is known, rows where it is the label."""
ISSUE_SHARES = {
    "train": "issue_share",
    "holdout": "holdout_issue_share",
    "held back": "held_back_issue_share",
}
"""Figure of the share of certain suspects, by split."""
NOTABLE = 0.01
"""Share of certain suspects from which on the sentence tells of them."""
DOUBT = 0.1
"""A suspect is certain where the judge gives its label a smaller probability. On rows that nobody
can tell apart half of the labels may be suspect and be right: of 442 diabetes patients cut at the
median outcome 17% are suspect, but 1% are certain."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Suspects:
    """Labels of one split that are probably wrong."""

    split: project.Split
    judge: str
    examined: int
    found: rows.Index
    """Least likely first, as row numbers of the split."""
    probabilities: rows.Matrix
    """What the judge says of these rows, [suspects, classes]."""

    @property
    def certain(self) -> int:
        """Suspects whose label the judge thinks all but impossible."""
        given = self.split.targets[self.found].astype(np.int64)
        return int(np.count_nonzero(self.probabilities[np.arange(len(given)), given] < DOUBT))

    @property
    def share(self) -> float:
        """Share of the labels that are all but certainly wrong."""
        return self.certain / max(self.examined, 1)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Echo:
    """What production labels owe to the model."""

    production: dataset.Production
    seen: feedback_loop.Agreement
    unseen: feedback_loop.Agreement
    comparison: feedback_loop.Comparison | None
    stamps: tuple[feedback_loop.Stamp, ...]
    confidence: float

    @property
    def flagged(self) -> bool:
        alpha = 1.0 - self.confidence
        return self.comparison is not None and self.comparison.chance < alpha

    @property
    def stamping(self) -> tuple[feedback_loop.Stamp, ...]:
        """Annotators who agree too often, the chance of naming one wrongly shared by all."""
        alpha = (1.0 - self.confidence) / max(len(self.stamps), 1)
        return tuple(each for each in self.stamps if each.chance < alpha)


def measure(subject: section.Subject) -> section.Section:
    """Look for wrong labels with cleanlab, and for labels that echo the model."""
    echo = _echo(subject)
    suspects = dict(_suspects(subject)) if label_issues.installed() else {}
    said = [*_said_of_suspects(subject, suspects), *_said_of_echo(echo)]
    return section.Section(
        name="labels",
        title="Labels",
        status="measured" if suspects or echo else "not measured",
        sentence=" ".join(said),
        figures={**_suspect_figures(suspects), **(_echo_figures(echo) if echo else {})},
        tables=(*_suspect_tables(suspects, subject), *(_echo_tables(echo) if echo else ())),
        exemplars=tuple(_shown(suspects, subject)),
    )


def _suspects(subject: section.Subject) -> Iterator[tuple[str, _Suspects]]:
    classes = len(subject.data.classes)
    if not classes:
        return
    parent, data = subject.models.get("parent"), subject.data
    found = _outside(subject, classes)
    if found is not None:
        targets = data.train.targets[found.chosen]
        judge = JUDGES[found.basis]
        suspect = label_issues.find(targets.astype(np.int64), found.probabilities)
        yield (
            "train",
            _Suspects(
                split=data.train,
                judge=judge,
                examined=len(found.chosen),
                found=found.chosen[suspect],
                probabilities=found.probabilities[suspect].astype(np.float64),
            ),
        )
    if parent is not None:
        yield from ((name, _judged(subject, split)) for name, split in _unlearned(subject))


def _outside(subject: section.Subject, classes: int) -> outside.Outside | None:
    folds, seed = subject.own.settings.inspect.label_folds, subject.rules.seed
    parent, data = subject.models.get("parent"), subject.data
    if folds:
        return outside.trained(subject.own, data.train, classes, folds=folds, seed=seed)
    return outside.answers(
        data.train,
        classes,
        embed=lambda split: embedding.embed(parent, split) if parent is not None else None,
        rival=train.score(parent, data.holdout, subject.rules.task) if parent is not None else 0.0,
        seed=seed,
    )


def _unlearned(subject: section.Subject) -> Iterator[tuple[str, project.Split]]:
    """Return the splits that the dense parent did not learn from."""
    yield "holdout", subject.data.holdout
    if subject.production is not None and subject.production.held_back.rows:
        yield "held back", subject.production.held_back


def _judged(subject: section.Subject, split: project.Split) -> _Suspects:
    said = train.predict(subject.models["parent"], split.inputs, task=subject.rules.task)
    found = label_issues.find(split.targets.astype(np.int64), said)
    return _Suspects(
        split=split,
        judge="the dense parent, which did not learn from them",
        examined=split.rows,
        found=found,
        probabilities=said[found].astype(np.float64),
    )


def _echo(subject: section.Subject) -> _Echo | None:
    production = subject.production
    if production is None or not production.labellings:
        return None
    groups, confidence = production.labellings, subject.rules.confidence
    seen, unseen = (feedback_loop.agreement(groups, saw=saw) for saw in (True, False))
    return _Echo(
        production=production,
        seen=seen,
        unseen=unseen,
        comparison=feedback_loop.compare(seen, unseen, confidence=confidence),
        stamps=feedback_loop.stamps(groups, unseen, confidence=confidence),
        confidence=confidence,
    )


def _said_of_suspects(subject: section.Subject, suspects: dict[str, _Suspects]) -> Iterator[str]:
    if not label_issues.installed():
        yield f"Wrong labels were not measured: {label_issues.MISSING}."
        return
    if not subject.data.classes:
        yield "Wrong labels are estimated for classes only."
        return
    notable = {name: each for name, each in suspects.items() if each.share >= NOTABLE}
    for name, each in notable.items():
        yield (
            f"{len(each.found)} of {each.examined} {name} labels are suspect, {each.certain} of "
            f"them all but certainly wrong."
        )
    if suspects and not notable:
        yield "Hardly any label looks wrong."


def _said_of_echo(echo: _Echo | None) -> Iterator[str]:
    if echo is None:
        return
    if echo.flagged and echo.comparison is not None:
        points = 100.0 * echo.comparison.gap.value
        yield (
            f"Labels given after seeing the prediction agree with it {points:.0f}"
            f" points more often than blind ones, so they may only echo the model."
        )
    for stamp in echo.stamping[:3]:
        found = stamp.agreement
        yield (
            f"Annotator {stamp.annotator} agreed with {found.agreed} of {found.answered} "
            f"predictions in sight."
        )
    if echo.seen.answered and not echo.unseen.answered:
        yield "No label was given blind, so it cannot be told whether they echo the model."
    share = echo.production.independent_share
    if share is not None:
        yield f"{share:.0%} of the production labels learned from are independent."


def _suspect_figures(suspects: dict[str, _Suspects]) -> dict[str, section.Figure]:
    return {
        ISSUE_SHARES[name]: section.Figure(value=each.share, unit="share", better="lower")
        for name, each in suspects.items()
    }


def _echo_figures(echo: _Echo) -> dict[str, section.Figure]:
    rows_labelled = max(echo.seen.rows + echo.unseen.rows, 1)
    found = {
        "seen_share": section.Figure(
            value=echo.seen.rows / rows_labelled, unit="share", better="lower"
        ),
        "agreement_seen": _share(echo.seen.share(echo.confidence)),
        "agreement_unseen": _share(echo.unseen.share(echo.confidence)),
        "agreement_gap": _share(echo.comparison.gap if echo.comparison else None, better="lower"),
        "agreement_gap_chance": (
            section.Figure(value=echo.comparison.chance) if echo.comparison else None
        ),
        "independent_share": _plain(echo.production.independent_share),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _share(
    found: intervals.Interval | None, better: Literal["lower"] | None = None
) -> section.Figure | None:
    if found is None:
        return None
    return section.Figure(
        value=found.value, low=found.low, high=found.high, unit="share", better=better
    )


def _plain(share: float | None) -> section.Figure | None:
    return None if share is None else section.Figure(value=share, unit="share", better="higher")


def _suspect_tables(
    suspects: dict[str, _Suspects], subject: section.Subject
) -> Iterator[section.Table]:
    classes = subject.data.classes
    if suspects:
        yield section.Table(
            title="Labels that are probably wrong",
            columns=("split", "examined", "suspect", "certain", "judged by"),
            rows=tuple(
                (name, each.examined, len(each.found), each.certain, each.judge)
                for name, each in suspects.items()
            ),
        )
    for name, each in suspects.items():
        if len(each.found):
            yield section.Table(
                title=f"Suspect labels of {name}, the least likely first",
                columns=("row", "label", "probability of that", "rather"),
                rows=tuple(_named(each, classes))[:MOST_NAMED],
            )


def _named(each: _Suspects, classes: Sequence[str]) -> Iterator[tuple[section.Cell, ...]]:
    for row, said in zip(each.found.tolist(), each.probabilities, strict=True):
        label = int(each.split.targets[row])
        yield row, classes[label], round(float(said[label]), 4), classes[int(said.argmax())]


def _shown(suspects: dict[str, _Suspects], subject: section.Subject) -> Iterator[section.Exemplar]:
    for name, each in suspects.items():
        for row, label, _, rather in list(_named(each, subject.data.classes))[:SHOWN]:
            caption = f"{name} row {row}: labelled {label}, rather {rather}"
            yield rows.exemplar(each.split, int(str(row)), caption)


def _echo_tables(echo: _Echo) -> Iterator[section.Table]:
    yield section.Table(
        title="Production labels by how they came about",
        columns=("use", "source", "prediction seen", "rows", "answer known", "agree"),
        rows=tuple(_by_way(echo.production.labellings)),
    )
    if echo.stamps:
        yield section.Table(
            title="Annotators who saw predictions",
            columns=("annotator", "rows", "agree", "chance of that"),
            rows=tuple(
                (each.annotator, each.agreement.answered, each.agreement.agreed, each.chance)
                for each in echo.stamps[:MOST_NAMED]
            ),
        )


def _by_way(groups: Sequence[labelling.Labelling]) -> Iterator[tuple[section.Cell, ...]]:
    """Count the rows by use, source and sight of the prediction, annotators taken together."""
    counts: dict[tuple[str, str, bool], Counts] = {}
    for group in groups:
        way = (group.key.part, group.key.source, group.key.saw_prediction)
        before = counts.get(way, (0, 0, 0))
        counts[way] = (
            before[0] + group.rows,
            before[1] + group.answered,
            before[2] + group.agreed,
        )
    for (part, source, saw), counted in sorted(counts.items()):
        yield part, source, "yes" if saw else "no", *counted
