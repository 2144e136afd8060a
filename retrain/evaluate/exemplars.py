"""Section `exemplars`: the very rows that the pruning answers differently, counted and shown.

How often the candidate differs from its dense parent, and who is right there; how often the null
control does, which was only trained on, is the noise floor. Where `[inspect] exemplar_seeds` asks
for it, populations of prunings and null controls tell what pruning as such harms from the luck of
one run. The rows that were harmed most are shown as pictures or values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from coppice import labels
from coppice.labels import Floats
from retrain.evaluate import (
    answers,
    disagreement,
    display,
    evaluation,
    intervals,
    populations,
    section,
    weighted,
)

_PAIRS: tuple[tuple[evaluation.Column, evaluation.Column], ...] = (
    ("parent", "candidate"),
    ("parent", "null"),
    ("null", "candidate"),
)


def measure(subject: section.Subject) -> section.Section:
    """Count and show what the pruning answers differently on the holdout."""
    holdout, rules = subject.data.holdout, subject.rules
    asked, truth = answers.ask(subject, holdout), answers.targets(holdout)
    found = {pair: _between(pair, asked, truth, rules) for pair in _PAIRS}
    excess = disagreement.excess(
        disagreement.differ(asked["parent"], asked["candidate"], rules),
        disagreement.differ(asked["parent"], asked["null"], rules),
        confidence=rules.confidence,
    )
    count = subject.own.settings.inspect.exemplar_seeds
    identified = None
    if count:
        grown = populations.grow(subject, holdout.inputs, count=count)
        identified = populations.compare(grown, rules)
    pie = _Identified(identified, count, truth, rules) if identified else None
    shown = worst(asked, truth, rules, first=identified.mask if identified else None)
    return section.Section(
        name="exemplars",
        title="Rows that the pruning answers differently",
        status="measured",
        sentence=_sentence(found, excess, subject.rules.task) + (pie.sentence() if pie else ""),
        figures=_figures(found, excess) | (pie.figures() if pie else {}),
        tables=(_table(found), *((pie.table(),) if pie else ())),
        charts=(_chart(found),),
        exemplars=_exemplars(subject, shown, asked, truth),
    )


def _between(
    pair: tuple[evaluation.Column, evaluation.Column],
    asked: answers.Answers,
    truth: Floats,
    rules: evaluation.Rules,
) -> disagreement.Disagreement:
    return disagreement.between(asked[pair[0]], asked[pair[1]], truth, rules)


def worst(
    asked: answers.Answers,
    truth: Floats,
    rules: evaluation.Rules,
    *,
    first: npt.NDArray[np.bool_] | None = None,
) -> list[int]:
    """Return the rows that the dense parent answers better, the most harmed first.

    Harm is the growth of the loss: of the true class's negative log probability, or of the error.

    Parameters
    ----------
    first
        Rows that come before all others: those that whole populations answer differently.
    """
    scores = {
        column: labels.scores(asked[column], truth, task=rules.task, scale=rules.scale)
        for column in ("parent", "candidate")
    }
    harm = _loss(asked["candidate"], truth, rules) - _loss(asked["parent"], truth, rules)
    leading = np.zeros(len(truth), dtype=np.bool_) if first is None else first
    harmed = np.flatnonzero(scores["parent"] > scores["candidate"])
    return sorted((int(row) for row in harmed), key=lambda row: (not leading[row], -harm[row]))


def _loss(given: Floats, truth: Floats, rules: evaluation.Rules) -> Floats:
    if rules.task == "regression":
        return np.abs(given - truth)
    return weighted.losses(given, truth)


def _exemplars(
    subject: section.Subject, rows: Sequence[int], asked: answers.Answers, truth: Floats
) -> tuple[section.Exemplar, ...]:
    shown = display.Display(subject.data.holdout, subject.training)
    most = subject.own.settings.inspect.exemplars
    return tuple(shown.show(row, _caption(row, asked, truth, subject.rules)) for row in rows[:most])


def _caption(row: int, asked: answers.Answers, truth: Floats, rules: evaluation.Rules) -> str:
    said = [
        f"{answers.NAMES[column]} {_said(given[row], rules)}" for column, given in asked.items()
    ]
    right = f"{truth[row]:.4g}" if rules.task == "regression" else rules.classes[int(truth[row])]
    return f"row {row}: truth {right}; {', '.join(said)}"


def _said(given: Floats, rules: evaluation.Rules) -> str:
    if rules.task == "regression":
        return f"{float(given):.4g}"
    place = int(given.argmax())
    return f"{rules.classes[place]} ({given[place]:.2f})"


_Found = dict[tuple[evaluation.Column, evaluation.Column], disagreement.Disagreement]


def _sentence(found: _Found, excess: intervals.Interval, task: labels.Task) -> str:
    own, noise = found["parent", "candidate"], found["parent", "null"]
    verdict = (
        "more than training alone explains"
        if excess.low > 0
        else "not shown to be more than training alone explains"
    )
    better = "nearer" if task == "regression" else "right"
    return (
        f"The candidate answers {own.share.value:.1%} of {own.rows} holdout rows differently from "
        f"the dense parent, the null control {noise.share.value:.1%}: {verdict}. Where they "
        f"differ, the parent is {better} on {own.first_better} rows and the candidate on "
        f"{own.second_better}."
    )


def _figures(found: _Found, excess: intervals.Interval) -> dict[str, section.Figure]:
    own, noise = found["parent", "candidate"], found["parent", "null"]
    return {
        "disagreement": _share(own.share),
        "disagreement_null": _share(noise.share),
        "disagreement_excess": _share(excess),
        "newly_wrong": section.Figure(value=float(own.first_better), better="lower"),
        "newly_right": section.Figure(value=float(own.second_better), better="higher"),
    }


def _share(found: intervals.Interval) -> section.Figure:
    return section.Figure(
        value=found.value, low=found.low, high=found.high, unit="share", better="lower"
    )


def _table(found: _Found) -> section.Table:
    return section.Table(
        title="Where two models answer differently, and who is right there",
        columns=(
            "first",
            "second",
            "rows that differ",
            "share",
            "low",
            "high",
            "first better",
            "second better",
            "neither",
        ),
        rows=tuple(
            (
                answers.NAMES[first],
                answers.NAMES[second],
                each.first_better + each.second_better + each.neither,
                *(round(end, 4) for end in each.share),
                each.first_better,
                each.second_better,
                each.neither,
            )
            for (first, second), each in found.items()
        ),
    )


def _chart(found: _Found) -> section.Chart:
    pairs: dict[evaluation.Column, disagreement.Disagreement] = {
        "candidate": found["parent", "candidate"],
        "null": found["parent", "null"],
    }
    return section.Chart(
        title="Rows answered differently from the dense parent",
        kind="bars",
        x="who answers better",
        y="rows",
        series={
            answers.NAMES[column]: (
                (0.0, float(each.first_better)),
                (1.0, float(each.second_better)),
                (2.0, float(each.neither)),
            )
            for column, each in pairs.items()
        },
        labels=("dense parent", "the other", "neither"),
    )


class _Identified:
    """Words and figures for what whole populations answer differently."""

    def __init__(
        self,
        found: populations.Exemplars,
        count: int,
        truth: Floats,
        rules: evaluation.Rules,
    ) -> None:
        self._noise, self._count, self._mask = found.noise, count, found.mask
        rows, inside = len(truth), int(found.mask.sum())
        self._share = intervals.wilson(inside, rows, confidence=rules.confidence)
        self._scores = {
            name: labels.scores(given, truth, task=rules.task, scale=rules.scale)
            for name, given in (("null controls", found.control), ("prunings", found.pruned))
        }

    def sentence(self) -> str:
        noise = "" if self._noise is None else f" (two halves of the controls: {self._noise:.1%})"
        return (
            f" Over {self._count} seeds on both sides, most prunings answer "
            f"{self._share.value:.1%} of the rows differently from most null controls{noise}."
        )

    def figures(self) -> dict[str, section.Figure]:
        found = {"pie": _share(self._share)}
        if self._noise is not None:
            found["pie_noise"] = section.Figure(value=self._noise, unit="share")
        return found

    def table(self) -> section.Table:
        parts = {"on these rows": self._mask, "on the others": ~self._mask}
        return section.Table(
            title=f"Rows that {self._count} prunings answer differently from as many controls",
            columns=("most of the", "where", "rows", "mean score"),
            rows=tuple(
                (name, where, int(rows.sum()), _mean(scores[rows]))
                for name, scores in self._scores.items()
                for where, rows in parts.items()
            ),
        )


def _mean(scores: Floats) -> float | None:
    return round(float(scores.mean()), 4) if len(scores) else None
