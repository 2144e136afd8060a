"""Section `fairness`: whether the pruning treats groups of people less alike than its parent did.

For every slice family that `[inspect] sensitive` names, and that the holdout has, the groups are
compared by mean score (accuracy), and for classes by selection rate, true positive rate and false
positive rate. A *gap* is the largest value of any group minus the smallest. What matters here is
how much wider the gap is than the dense parent's; how much the null control's gap differs from it
says what training alone does. A gap is no verdict: whether it is just is for people to say.

The group metrics are Fairlearn's; this is its only home.

References
----------
Hardt, Price, Srebro, Equality of opportunity in supervised learning, NeurIPS 2016.
Hooker, Moorosi, Clark, Bengio, Denton, Characterising bias in compressed models, 2020.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import labels, project
from coppice.labels import Floats
from retrain.evaluate import answers, evaluation, intervals, section

NAME, TITLE = "fairness", "Whether groups are treated alike"
LEAST_POSITIVES = 10
"""A class is compared between groups where each has so many rows of it, and of the others."""
RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")
"""Fairlearn's names of what is compared beside the score."""

Column = evaluation.Column
Rates: TypeAlias = dict[str, dict[str, float]]
"""By metric, then by group."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """The groups of one sensitive column that have enough rows.

    Attributes
    ----------
    family
        The column.
    names
        Of the groups that are compared.
    member
        Of each row the place of its group, or -1 [rows].
    small
        Groups left out, because they have too few rows, with their number.
    """

    family: str
    names: tuple[str, ...]
    member: npt.NDArray[np.int64]
    small: Mapping[str, int]

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """The rows that belong to a group that is compared [rows]."""
        return self.member >= 0

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """The group of every row inside."""
        return np.asarray(self.names)[self.member[self.inside]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """One sensitive column: the metrics of each model by group, and what the pruning changed."""

    groups: Groups
    rates: dict[Column, Rates]
    classes: dict[str, str]
    """Of metrics that are about one class: its name."""
    rise: intervals.Interval
    """Score gap of the candidate minus the dense parent's."""

    def gap(self, column: Column, metric: str) -> float:
        """Return the largest value of any group minus the smallest."""
        return _spread(self.rates[column][metric])

    def words(self, metric: str) -> str:
        """Name a metric, with its class where it is about one."""
        return f"{metric} (class {self.classes[metric]})" if metric in self.classes else metric


def measure(subject: section.Subject) -> section.Section:
    """Compare groups, or say what is missing for it."""
    reason = _missing(subject)
    if reason:
        return _not_measured(reason)
    wanted = subject.own.settings.inspect.sensitive
    holdout = subject.data.holdout
    every = [group_rows(family, holdout, least=subject.rules.min_slice_rows) for family in wanted]
    usable = [found for found in every if len(found.names) >= 2]
    if not usable:
        least = subject.rules.min_slice_rows
        return _not_measured(f"no sensitive column has two groups of {least} holdout rows")
    asked = answers.ask(subject, holdout)
    audits = [audit(subject, found, asked, families=len(usable)) for found in usable]
    return section.Section(
        name=NAME,
        title=TITLE,
        status="measured",
        sentence=_sentence(audits, [found for found in every if len(found.names) < 2]),
        figures=_figures(audits),
        tables=tuple(table for each in audits for table in (_gaps(each), _by_group(each))),
        charts=tuple(_chart(each) for each in audits),
    )


def _missing(subject: section.Subject) -> str:
    """Say why fairness cannot be measured; empty where it can."""
    wanted = subject.own.settings.inspect.sensitive
    if not wanted:
        return "no sensitive columns are declared; name slice families in [inspect] sensitive"
    known = subject.data.holdout.slices
    unknown = [family for family in wanted if family not in known]
    if unknown:
        have = ", ".join(known) or "none"
        return f"the holdout has no slices {', '.join(unknown)}; it has: {have}"
    return "" if importlib.util.find_spec("fairlearn") else "install coppice[audit]"


def _not_measured(reason: str) -> section.Section:
    sentence = f"Not measured: {reason}."
    return section.Section(name=NAME, title=TITLE, status="not measured", sentence=sentence)


def group_rows(family: str, split: project.Split, *, least: int) -> Groups:
    """Sort the rows into groups; those of fewer rows than `least` are named and left out."""
    values = split.slices[family].astype(str)
    names, counts = np.unique(values[values != ""], return_counts=True)
    kept = tuple(str(name) for name in names[counts >= least])
    member = np.full(len(values), -1, dtype=np.int64)
    for place, name in enumerate(kept):
        member[values == name] = place
    small = {
        str(name): int(count) for name, count in zip(names, counts, strict=True) if count < least
    }
    return Groups(family=family, names=kept, member=member, small=small)


def audit(
    subject: section.Subject, groups: Groups, asked: answers.Answers, *, families: int
) -> Audit:
    """Compare the groups of one column under every model.

    Parameters
    ----------
    families
        Sensitive columns in all, which share the chance that any rise is shown by accident.
    """
    rules, truth = subject.rules, answers.targets(subject.data.holdout)
    scores = {
        column: labels.scores(given, truth, task=rules.task, scale=rules.scale)
        for column, given in asked.items()
    }
    rates: dict[Column, Rates] = {column: _score(groups, scores[column]) for column in asked}
    if rules.task == "regression":
        answered = {column: _answers(groups, given) for column, given in asked.items()}
        rates = {column: rates[column] | answered[column] for column in asked}
        classes: dict[str, str] = {}
    else:
        classes = _add_rates(rates, groups, asked, truth, rules.classes)
    plain = np.ones((1, len(truth)))
    rise = gaps(groups, scores["candidate"], plain) - gaps(groups, scores["parent"], plain)
    count = intervals.affordable(
        len(truth), len(groups.names), wanted=subject.own.settings.inspect.draws
    )
    drawn = [
        gaps(groups, scores["candidate"], weights) - gaps(groups, scores["parent"], weights)
        for weights in intervals.draws(len(truth), count=count, seed=rules.seed)
    ]
    level = 1.0 - (1.0 - rules.confidence) / families
    interval = intervals.percentile(float(rise[0]), np.concatenate(drawn), confidence=level)
    return Audit(groups=groups, rates=rates, classes=classes, rise=interval)


def gaps(groups: Groups, scores: Floats, weights: Floats) -> Floats:
    """Return the gap in mean score under each weighting of the rows [draws].

    A group that a draw has no row of is left out of it.
    """
    inside = np.eye(len(groups.names) + 1)[groups.member][:, :-1]
    rows = weights @ inside
    means = weights @ (inside * scores[:, None]) / np.maximum(rows, 1.0)
    highest = np.where(rows > 0, means, -np.inf).max(axis=1)
    return np.asarray(highest - np.where(rows > 0, means, np.inf).min(axis=1))


def _score(groups: Groups, scores: Floats) -> Rates:
    frame = _frame(("mean_prediction",), groups, scores, scores)
    return {"score": frame["mean_prediction"]}


def _answers(groups: Groups, given: Floats) -> Rates:
    return {"mean_answer": _frame(("mean_prediction",), groups, given, given)["mean_prediction"]}


def _add_rates(
    rates: dict[Column, Rates],
    groups: Groups,
    asked: answers.Answers,
    truth: Floats,
    classes: tuple[str, ...],
) -> dict[str, str]:
    """Add the rates of one class against the rest, and return which class that is by metric.

    With two classes the second is the positive one. With more it is the class whose gap the
    pruning widens most; it is the same for all models, so that they can be compared.
    """
    every = range(1, 2) if len(classes) == 2 else range(len(classes))
    frames: dict[int, dict[Column, Rates]] = {
        index: {
            column: _frame(RATES, groups, truth == index, given.argmax(axis=1) == index)
            for column, given in asked.items()
        }
        for index in every
        if _comparable(groups, truth == index)
    }
    chosen: dict[str, str] = {}
    for metric in RATES if frames else ():
        widened = {index: _widened(frame, metric) for index, frame in frames.items()}
        worst = max(widened, key=widened.__getitem__)
        chosen[metric] = classes[worst]
        for column in asked:
            rates[column][metric] = frames[worst][column][metric]
    return chosen


def _widened(frame: Mapping[Column, Rates], metric: str) -> float:
    return _spread(frame["candidate"][metric]) - _spread(frame["parent"][metric])


def _spread(values: Mapping[str, float]) -> float:
    return max(values.values()) - min(values.values())


def _comparable(groups: Groups, positive: npt.NDArray[np.bool_]) -> bool:
    """Say whether every group has enough rows of a class, and of the rest, for a rate."""
    counts = [
        int((positive[groups.member == place] == kind).sum())
        for place in range(len(groups.names))
        for kind in (True, False)
    ]
    return min(counts) >= LEAST_POSITIVES


def _frame(
    metrics: tuple[str, ...],
    groups: Groups,
    truth: npt.NDArray[Any],
    given: npt.NDArray[Any],
) -> Rates:
    """Ask Fairlearn for metrics by group."""
    from fairlearn import metrics as library

    frame = library.MetricFrame(
        metrics={name: getattr(library, name) for name in metrics},
        y_true=truth[groups.inside].astype(np.float64),
        y_pred=given[groups.inside].astype(np.float64),
        sensitive_features=groups.labels,
    )
    return {
        name: {group: float(frame.by_group[name][group]) for group in groups.names}
        for name in metrics
    }


def _sentence(audits: list[Audit], unusable: list[Groups]) -> str:
    worst = max(audits, key=lambda each: each.rise.value)
    gap, before = worst.gap("candidate", "score"), worst.gap("parent", "score")
    among = f", the most of {len(audits)} sensitive columns" if len(audits) > 1 else ""
    shown = "is" if worst.rise.low > 0 else "is not"
    tail = f" {len(unusable)} more have fewer than two groups to compare." if unusable else ""
    return (
        f"Between the groups of {worst.groups.family} the candidate's mean score differs by "
        f"{gap:.3f}, the dense parent's by {before:.3f}: a change of {worst.rise.value:+.3f} "
        f"({worst.rise.low:+.3f} to {worst.rise.high:+.3f}){among}. That the pruning widens the "
        f"gap {shown} shown.{tail}"
    )


def _figures(audits: list[Audit]) -> dict[str, section.Figure]:
    """Name the rise that the gate judges, that of the column where it is surest, and every gap."""
    worst = max(audits, key=lambda each: (each.rise.low, each.rise.value))
    found = {
        "gap_rise": section.Figure(
            value=worst.rise.value,
            low=worst.rise.low,
            high=worst.rise.high,
            unit="share",
            better="lower",
        )
    }
    for each in audits:
        for metric in each.rates["candidate"]:
            found[f"{each.groups.family}_{metric}_gap"] = section.Figure(
                value=each.gap("candidate", metric),
                unit="" if metric == "mean_answer" else "share",
                better=None if metric == "mean_answer" else "lower",
            )
    return found


def _gaps(each: Audit) -> section.Table:
    columns = tuple(each.rates)
    return section.Table(
        title=f"Largest difference between the groups of {each.groups.family}",
        columns=(
            "metric",
            *(answers.NAMES[column] for column in columns),
            "candidate minus dense parent",
            "null control minus dense parent",
        ),
        rows=tuple(
            (
                each.words(metric),
                *(round(each.gap(column, metric), 4) for column in columns),
                round(each.gap("candidate", metric) - each.gap("parent", metric), 4),
                round(each.gap("null", metric) - each.gap("parent", metric), 4),
            )
            for metric in each.rates["candidate"]
        ),
    )


def _by_group(each: Audit) -> section.Table:
    metrics = tuple(each.rates["candidate"])
    small = ", ".join(f"{name} ({count} rows)" for name, count in each.groups.small.items())
    tail = f"; left out for few rows: {small}" if small else ""
    return section.Table(
        title=f"Groups of {each.groups.family}{tail}",
        columns=("group", "rows", "model", *(each.words(metric) for metric in metrics)),
        rows=tuple(
            (
                group,
                int((each.groups.member == place).sum()),
                answers.NAMES[column],
                *(round(each.rates[column][metric][group], 4) for metric in metrics),
            )
            for place, group in enumerate(each.groups.names)
            for column in each.rates
        ),
    )


def _chart(each: Audit) -> section.Chart:
    return section.Chart(
        title=f"Mean score by {each.groups.family}",
        kind="bars",
        x=each.groups.family,
        y="mean score",
        series={
            answers.NAMES[column]: tuple(
                (float(place), rates["score"][group])
                for place, group in enumerate(each.groups.names)
            )
            for column, rates in each.rates.items()
        },
        labels=each.groups.names,
    )
