"""Privacy: whether the models give away which rows they were trained on.

The attack is the plainest there is: who knows a row and its label asks the model, and takes a low
loss for a sign that the row was learned. Members are rows of the project's own training split,
others the holdout, as many of each: production rows are left out, because they differ from the
holdout by more than their membership. Stronger attacks exist, so a low figure is no warranty; a
rise from parent to candidate is a fact about the pruning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from torch import nn

from coppice import project
from coppice.labels import Floats
from retrain import train
from retrain.evaluate import evaluation, inversion, membership, paired, probing, section

NAME, TITLE = "privacy", "Privacy"
MOST_ROWS = 5000
"""Members, and as many others, at most; from there on an area is sure to a point."""
LEAST_ROWS = 20
"""Rows on either side below which nothing could be told."""

Attack: TypeAlias = Mapping[evaluation.Column, membership.Scores]


def measure(subject: section.Subject) -> section.Section:
    """Attack every model with the same members and others."""
    rows = min(subject.data.train.rows, subject.data.holdout.rows, MOST_ROWS)
    if rows < LEAST_ROWS:
        reason = f"it needs {LEAST_ROWS} training rows and as many holdout rows; there are {rows}"
        return probing.unmeasured(NAME, TITLE, reason)
    seed = subject.rules.seed
    members = probing.sample(subject.data.train, rows, seed=seed)
    others = probing.sample(subject.data.holdout, rows, seed=seed)
    with probing.held(subject) as models:
        attack: Attack = {
            column: membership.Scores(
                _scores(model, members, subject.rules), _scores(model, others, subject.rules)
            )
            for column, model in models.items()
        }
        asked = subject.own.settings.inspect.inversion
        drawings = inversion.draw_all(subject, models) if asked else None
    found = _section(attack, subject.rules, rows)
    return inversion.beside(found, drawings) if drawings else found


def _scores(model: nn.Module, split: project.Split, rules: evaluation.Rules) -> Floats:
    answers = train.logits(model, split.inputs, task=rules.task).astype(np.float64)
    if rules.task == "regression":
        return np.asarray(-np.abs(answers - split.targets.astype(np.float64)))
    return membership.confidence_scores(answers, split.targets.astype(np.int64))


def _section(attack: Attack, rules: evaluation.Rules, rows: int) -> section.Section:
    confidence = rules.confidence
    rise = membership.auc_rise(attack["parent"], attack["candidate"], confidence=confidence)
    figures = {"membership_auc_rise": _figure(rise, "points")}
    for column, scores in attack.items():
        suffix = "" if column == "candidate" else f"_{column}"
        area = membership.auc(scores, confidence=confidence)
        flagged = membership.share(membership.accused(scores), confidence=confidence)
        figures[f"membership_auc{suffix}"] = _figure(area, "share")
        figures[f"tpr_at_1_fpr{suffix}"] = _figure(flagged, "share")
    figures["tpr_rise"] = _figure(_flag_rise(attack, rules), "points")
    figures["rows"] = section.Figure(value=float(rows))
    return section.Section(
        name=NAME,
        title=TITLE,
        status="measured",
        sentence=_sentence(figures),
        figures=figures,
        tables=(_table(attack, figures, rules),),
        charts=(_chart(attack),),
    )


def _flag_rise(attack: Attack, rules: evaluation.Rules) -> membership.Estimate:
    before, after = (
        membership.accused(attack[column]).astype(np.float64) for column in ("parent", "candidate")
    )
    low, high = paired.interval(after - before, confidence=rules.confidence, seed=rules.seed)
    return membership.Estimate(float((after - before).mean()), low, high)


def _figure(found: membership.Estimate, unit: str) -> section.Figure:
    return section.Figure(
        value=found.value, low=found.low, high=found.high, unit=unit, better="lower"
    )


def _sentence(figures: Mapping[str, section.Figure]) -> str:
    area, rise = figures["membership_auc"], figures["membership_auc_rise"]
    leaks = area.low is not None and area.low > 0.5
    state = (
        f"Training rows can be told from others by their loss in {100 * area.value:.0f} of 100 "
        f"pairs (50 is chance)"
        if leaks
        else f"Training rows cannot be told from others by their loss "
        f"({100 * area.value:.0f} of 100 pairs, 50 is chance)"
    )
    return f"{state}; {_change(rise)}."


def _change(rise: section.Figure) -> str:
    assert rise.low is not None
    assert rise.high is not None
    if rise.low > 0:
        return f"{probing.points(rise.value)} more than of the dense parent"
    if rise.high < 0:
        return f"{probing.points(-rise.value)} less than of the dense parent"
    return "no change against the dense parent is shown"


def _table(
    attack: Attack, figures: Mapping[str, section.Figure], rules: evaluation.Rules
) -> section.Table:
    def ends(name: str) -> tuple[section.Cell, ...]:
        found = figures[name]
        return found.value, found.low, found.high

    def row(column: evaluation.Column) -> tuple[section.Cell, ...]:
        suffix = "" if column == "candidate" else f"_{column}"
        areas, flagged = ends(f"membership_auc{suffix}"), ends(f"tpr_at_1_fpr{suffix}")
        medians = (float(np.median(part)) for part in attack[column])
        return probing.COLUMNS[column], *areas, *flagged, *medians

    what = "error, negative" if rules.task == "regression" else "log odds of the truth"
    return section.Table(
        title="Loss-threshold membership inference, training rows against holdout rows",
        columns=(
            "model",
            "AUC",
            "AUC low",
            "AUC high",
            "found at 1% false alarms",
            "found low",
            "found high",
            f"median {what}, training",
            f"median {what}, holdout",
        ),
        rows=tuple(row(column) for column in attack),
    )


def _chart(attack: Attack) -> section.Chart:
    curves = {
        probing.COLUMNS[column]: membership.curve(scores) for column, scores in attack.items()
    }
    return section.Chart(
        title="What an attacker finds",
        kind="lines",
        x="share of holdout rows accused wrongly",
        y="share of training rows found",
        series={**curves, "chance": ((0.0, 0.0), (1.0, 1.0))},
    )
