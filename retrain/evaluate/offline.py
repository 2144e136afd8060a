"""Section `metrics`: how good the answers are, every model side by side, and how sure that is.

On the holdout and on held-back production rows: accuracy, balanced accuracy, F1, AUROC, log-loss,
Brier score and calibration (regression: MAE, RMSE, R2) of dense parent, null control, candidate and
champion, the candidate's change against each, and how much better each model is on the rows that
it was trained on (overfitting).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

from coppice import labels, project
from coppice.labels import Floats
from retrain.evaluate import answers, evaluation, intervals, metrics, paired, section, weighted

MOST_TRAINING_ROWS = 5000
"""Training rows that the overfitting is measured on, drawn with the project's seed."""
HIGHER = frozenset({"accuracy", "balanced_accuracy", "f1_macro", "auroc", "r2", "score"})
"""Figures of which more is better."""
UNITS = {"accuracy": "share", "balanced_accuracy": "share", "calibration_error": "share"}

Column = evaluation.Column
Changes = dict[Column, dict[str, intervals.Interval]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """Every figure of every column on the same rows.

    Attributes
    ----------
    name
        What the rows are: `holdout` or `production`.
    rows
        Their number.
    values
        By column and figure, with intervals.
    changes
        Candidate minus each other column, by column and figure, with paired intervals.
    """

    name: str
    rows: int
    values: dict[Column, dict[str, intervals.Interval]]
    changes: Changes


def measure(subject: section.Subject) -> section.Section:
    """Measure all columns on all rows to judge on."""
    found = {name: answers.ask(subject, rows) for name, rows in answers.splits(subject).items()}
    splits = answers.splits(subject)
    boards = [board(subject, name, splits[name], found[name]) for name in splits]
    gaps = overfitting(subject, found["holdout"])
    return section.Section(
        name="metrics",
        title="How good the answers are",
        status="measured",
        sentence=_sentence(boards[0], gaps),
        figures=_figures(boards) | _gap_figures(gaps),
        tables=(
            *(table for each in boards for table in (_side_by_side(each), _changes(each))),
            _gap_table(gaps),
        ),
        charts=tuple(
            reliability(name, found[name], answers.targets(splits[name]), subject.rules.task)
            for name in splits
        ),
    )


def board(
    subject: section.Subject, name: str, split: project.Split, asked: answers.Answers
) -> Board:
    """Compute every figure with its interval, and every change of the candidate."""
    rules, truth = subject.rules, answers.targets(split)
    figures = weighted.figures(rules.task)
    count = intervals.affordable(
        split.rows, max(len(rules.classes), 1), wanted=subject.own.settings.inspect.draws
    )
    drawn = {
        column: intervals.resample(given, truth, figures, count=count, seed=rules.seed)
        for column, given in asked.items()
    }
    once = weighted.plain(split.rows)
    plain = {
        column: {name: float(figure(given, truth, once)[0]) for name, figure in figures.items()}
        for column, given in asked.items()
    }
    values: Changes = {
        column: {
            name: intervals.percentile(value, drawn[column][name], confidence=rules.confidence)
            for name, value in plain[column].items()
        }
        for column in asked
    }
    changes: Changes = {
        column: {
            name: intervals.percentile(
                plain["candidate"][name] - plain[column][name],
                drawn["candidate"][name] - drawn[column][name],
                confidence=rules.confidence,
            )
            for name in figures
        }
        for column in asked
        if column != "candidate"
    }
    if rules.task != "regression":
        _use_formulas(values, changes, asked, truth, rules)
    return Board(name=name, rows=split.rows, values=values, changes=changes)


def _use_formulas(
    values: dict[Column, dict[str, intervals.Interval]],
    changes: Changes,
    asked: answers.Answers,
    truth: Floats,
    rules: evaluation.Rules,
) -> None:
    """Put score intervals in the place of the bootstrap where the figure is a share of rows."""
    for column, given in asked.items():
        right = int((given.argmax(axis=1) == truth).sum())
        values[column]["accuracy"] = intervals.wilson(
            right, len(truth), confidence=rules.confidence
        )
    for column in changes:
        pairs = paired.pair(asked[column], asked["candidate"], truth, task=rules.task)
        lost = paired.compare(pairs, confidence=rules.confidence)
        drop = intervals.Interval(lost.drop, lost.low, lost.high)
        changes[column]["accuracy"] = drop.mirrored()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """How much better one model is on rows that it was trained on; score in [0, 1]."""

    training: float
    holdout: float
    gap: intervals.Interval
    loss_gap: intervals.Interval
    """Loss on the holdout minus loss in training: log-loss in nats, or absolute error."""


def overfitting(subject: section.Subject, asked: answers.Answers) -> dict[Column, Gap]:
    """Compare every trained model's scores and losses in training with those on the holdout.

    Parameters
    ----------
    asked
        The answers to the holdout. A champion is left out: it was trained on other rows.
    """
    rows = _some(subject.training, subject.rules.seed)
    training = answers.ask(subject, rows)
    truth = {"training": answers.targets(rows), "holdout": answers.targets(subject.data.holdout)}
    found: dict[Column, Gap] = {}
    for column in training:
        if column == "champion":
            continue
        given = {"training": training[column], "holdout": asked[column]}
        score = {name: _scores(given[name], truth[name], subject.rules) for name in given}
        loss = {name: _losses(given[name], truth[name], subject.rules.task) for name in given}
        level = subject.rules.confidence
        found[column] = Gap(
            training=float(score["training"].mean()),
            holdout=float(score["holdout"].mean()),
            gap=intervals.difference(score["training"], score["holdout"], confidence=level),
            loss_gap=intervals.difference(loss["holdout"], loss["training"], confidence=level),
        )
    return found


def _some(split: project.Split, seed: int) -> project.Split:
    if split.rows <= MOST_TRAINING_ROWS:
        return split
    chosen = np.random.default_rng(seed).choice(split.rows, MOST_TRAINING_ROWS, replace=False)
    return split.take(np.sort(chosen))


def _scores(given: Floats, truth: Floats, rules: evaluation.Rules) -> Floats:
    return labels.scores(given, truth, task=rules.task, scale=rules.scale)


def _losses(given: Floats, truth: Floats, task: labels.Task) -> Floats:
    return np.abs(given - truth) if task == "regression" else weighted.losses(given, truth)


def reliability(
    name: str, asked: answers.Answers, truth: Floats, task: labels.Task
) -> section.Chart:
    """Draw what each model expects against what came true.

    For classes: the share that is right, by the probability of the top class in equal widths. For
    a regression: the mean target by tenths of the rows in the order of the answers.
    """
    draw = _tenths if task == "regression" else _bins
    return section.Chart(
        title=f"Calibration on the {name}",
        kind="reliability",
        x="mean answer" if task == "regression" else "probability of the top class",
        y="mean target" if task == "regression" else "share that is right",
        series={answers.NAMES[column]: draw(given, truth) for column, given in asked.items()},
    )


def _bins(given: Floats, truth: Floats) -> tuple[tuple[float, float], ...]:
    confidence = given.max(axis=1)
    bins = np.minimum((confidence * metrics.BINS).astype(np.int64), metrics.BINS - 1)
    right = given.argmax(axis=1) == truth
    return _means(confidence, right.astype(np.float64), bins)


def _tenths(given: Floats, truth: Floats) -> tuple[tuple[float, float], ...]:
    rank = np.argsort(np.argsort(given, kind="stable"), kind="stable")
    return _means(given, truth, rank * 10 // len(truth))


def _means(x: Floats, y: Floats, bins: npt.NDArray[np.integer]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(x[bins == place].mean()), float(y[bins == place].mean()))
        for place in np.unique(bins)
    )


def _better(name: str) -> Literal["higher", "lower"]:
    return "higher" if name in HIGHER else "lower"


def _figures(boards: list[Board]) -> dict[str, section.Figure]:
    """Name the candidate's figures, and their changes against dense parent and null control."""
    found: dict[str, section.Figure] = {}
    for each in boards:
        prefix = "" if each.name == "holdout" else f"{each.name}_"
        for name, value in each.values["candidate"].items():
            found[prefix + name] = _figure(name, value)
        for column, changes in each.changes.items():
            for name, change in changes.items():
                found[f"{prefix}{name}_change_{column}"] = _figure(name, change)
    return found


def _figure(name: str, found: intervals.Interval) -> section.Figure:
    return section.Figure(
        value=found.value,
        low=found.low,
        high=found.high,
        unit=UNITS.get(name, ""),
        better=_better(name),
    )


def _gap_figures(gaps: dict[Column, Gap]) -> dict[str, section.Figure]:
    return {
        f"training_gap_{column}": section.Figure(
            value=each.gap.value,
            low=each.gap.low,
            high=each.gap.high,
            unit="share",
            better="lower",
        )
        for column, each in gaps.items()
    }


def _side_by_side(each: Board) -> section.Table:
    return section.Table(
        title=f"All models on the {each.name} ({each.rows} rows)",
        columns=("figure", *(answers.NAMES[column] for column in each.values)),
        rows=tuple(
            (name, *(round(values[name].value, 4) for values in each.values.values()))
            for name in each.values["candidate"]
        ),
    )


def _changes(each: Board) -> section.Table:
    """Give the candidate's figures and changes with their intervals."""
    against = [("itself", each.values["candidate"])]
    against += [(f"minus {answers.NAMES[name]}", found) for name, found in each.changes.items()]
    return section.Table(
        title=f"The candidate on the {each.name}, with intervals",
        columns=("figure", "candidate", "value", "low", "high"),
        rows=tuple(
            (name, what, *(round(end, 4) for end in found[name]))
            for name in each.values["candidate"]
            for what, found in against
        ),
    )


def _gap_table(gaps: dict[Column, Gap]) -> section.Table:
    return section.Table(
        title="Overfitting: mean score in training and on the holdout",
        columns=(
            "model",
            "training",
            "holdout",
            "gap",
            "low",
            "high",
            "loss gap",
            "loss gap low",
            "loss gap high",
        ),
        rows=tuple(
            (
                answers.NAMES[column],
                *(round(value, 4) for value in (each.training, each.holdout)),
                *(round(end, 4) for end in (*each.gap, *each.loss_gap)),
            )
            for column, each in gaps.items()
        ),
    )


def _sentence(holdout: Board, gaps: dict[Column, Gap]) -> str:
    name = next(iter(holdout.values["candidate"]))
    value = holdout.values["candidate"][name]
    whole = (
        f"On {holdout.rows} holdout rows the candidate's {name} is {value.value:.3f} "
        f"({value.low:.3f} to {value.high:.3f})"
    )
    parts = [whole]
    parts += [
        f"{change[name].value:+.3f} against the {answers.NAMES[column]} "
        f"({change[name].low:+.3f} to {change[name].high:+.3f})"
        for column, change in holdout.changes.items()
    ]
    return f"{', '.join(parts)}. {_overfit_words(gaps)}"


def _overfit_words(gaps: dict[Column, Gap]) -> str:
    own, parent = gaps["candidate"].gap, gaps["parent"].gap
    if own.low > 0:
        return (
            f"It is better in training than on the holdout by {own.value:.3f} ({own.low:.3f} to "
            f"{own.high:.3f}), the dense parent by {parent.value:.3f}: it has learned some rows by "
            f"heart."
        )
    return "It is not shown to be better in training than on the holdout."
