"""Robustness: what is left of the score under attack and under everyday damage, and at what cost.

Every model is attacked on its own, knowing it, and meets the same corrupted rows. What the pruning
costs is the paired difference of dense parent and candidate on the same holdout rows; the null
control shows how much of that any further training would have cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from torch import nn

from coppice import project, settings
from coppice.labels import Floats
from retrain import network, train
from retrain.evaluate import attacks, corruptions, domain, evaluation, paired, probing, section

NAME, TITLE = "robustness", "Robustness"
MOST_ROWS = 1000
"""Holdout rows at most; from there on intervals are a few points wide."""


class Stress(NamedTuple):
    """Something that is done to the rows, how hard, and what `level` counts."""

    name: str
    level: float = 0.0
    unit: str = ""

    def __str__(self) -> str:
        """Write it as a row of the table names it."""
        return f"{self.name} {self.level:g} {self.unit}" if self.unit else self.name


CLEAN = Stress("clean")
Scores: TypeAlias = Mapping[evaluation.Column, Floats]
"""By column the score of each row."""


class Cost(NamedTuple):
    """Score that a model lost against another under one stress, with its interval."""

    drop: float
    low: float
    high: float


def measure(subject: section.Subject) -> section.Section:
    """Attack and corrupt the holdout, and compare what is left of the scores."""
    land = domain.survey(subject.training)
    if not land:
        return probing.unmeasured(
            NAME, TITLE, "no input holds continuous numbers, so that nothing can be moved a little"
        )
    rules = subject.own.settings.inspect
    with probing.held(subject) as models:
        passes = len(models) * _passes(rules, land)
        split = probing.affordable(subject, subject.data.holdout, passes=passes, most=MOST_ROWS)
        columns: dict[evaluation.Column, dict[Stress, Floats]] = {
            name: _all(model, split, land, subject) for name, model in models.items()
        }
    found = {stress: _at(stress, columns) for stress in columns["candidate"]}
    return _section(found, split.rows, subject.rules)


def _at(stress: Stress, columns: Mapping[evaluation.Column, Mapping[Stress, Floats]]) -> Scores:
    scores: Scores = {name: column[stress] for name, column in columns.items()}
    return scores


def _passes(rules: settings.InspectSettings, land: domain.Domain) -> float:
    # For each budget FGSM, and PGD with its own first step; every step is judged once more.
    each = (rules.attack_steps + 2) * (probing.BACKWARD + 1)
    damages = sum(len(kind.severities) for kind in _kinds(land))
    return len(_budgets(rules, land)) * each + damages + 1


def _kinds(land: domain.Domain) -> list[corruptions.Corruption]:
    present = domain.kinds(land)
    return [kind for kind in corruptions.CORRUPTIONS if kind.kind in present]


def _budgets(
    rules: settings.InspectSettings, land: domain.Domain
) -> list[dict[domain.Kind, float]]:
    """Return the budgets by kind of input, mildest first; with both kinds they go together."""
    pictures, tables = sorted(rules.picture_attacks), sorted(rules.table_attacks)
    present = domain.kinds(land)
    if present == {"picture"}:
        return [{"picture": budget} for budget in pictures]
    if present == {"table"}:
        return [{"table": budget} for budget in tables]
    return [{"picture": p, "table": t} for p, t in zip(pictures, tables, strict=False)]


def _all(
    model: nn.Module, split: project.Split, land: domain.Domain, subject: section.Subject
) -> dict[Stress, Floats]:
    """Return one model's scores of the rows under everything."""
    rules = subject.rules
    found = {CLEAN: probing.scores(model, split, rules)}
    for stress, changed in _attacked(model, split, land, subject):
        found[stress] = probing.scores(model, changed, rules)
    for stress, changed in _damaged(split, land, rules.seed):
        found[stress] = probing.scores(model, changed, rules)
    return found


def _attacked(
    model: nn.Module, split: project.Split, land: domain.Domain, subject: section.Subject
) -> Iterator[tuple[Stress, project.Split]]:
    rules, task = subject.own.settings.inspect, subject.rules.task
    batches = [
        attacks.Rows(
            tensors=network.to_tensors(part.inputs),
            targets=train.targets_of(part, task),
            task=task,
        )
        for part in _parts(split)
    ]
    known: Sequence[attacks.Rows | None] = [None] * len(batches)
    for budgets in _budgets(rules, land):
        steep = domain.stretched(land, budgets)
        stress = [Stress(name, *_level(budgets)) for name in ("FGSM", "PGD")]
        yield stress[0], _joined(split, [attacks.fgsm(model, rows, steep) for rows in batches])
        plan = attacks.Descent(steps=rules.attack_steps, seed=subject.rules.seed)
        moved = [
            attacks.pgd(model, rows, steep, plan, before)
            for rows, before in zip(batches, known, strict=True)
        ]
        yield stress[1], _joined(split, moved)
        known = moved


def _level(budgets: Mapping[domain.Kind, float]) -> tuple[float, str]:
    units = {"picture": "of the range", "table": "deviations"}
    (kind, level), *others = budgets.items()
    beside = "".join(f" and {value:g} {units[other]}" for other, value in others)
    return level, units[kind] + beside


def _damaged(
    split: project.Split, land: domain.Domain, seed: int
) -> Iterator[tuple[Stress, project.Split]]:
    tensors = network.to_tensors(split.inputs)
    for kind in _kinds(land):
        for severity in kind.severities:
            changed = corruptions.apply(kind, tensors, land, severity, seed)
            yield Stress(kind.name, severity, kind.unit), _replaced(split, changed)


def _parts(split: project.Split) -> list[project.Split]:
    step = probing.GRADIENT_ROWS
    return [
        split.take(np.arange(at, min(at + step, split.rows))) for at in range(0, split.rows, step)
    ]


def _joined(split: project.Split, parts: Sequence[attacks.Rows]) -> project.Split:
    inputs = {
        name: np.concatenate([part.tensors[name].numpy() for part in parts])
        for name in split.inputs
    }
    return project.Split(inputs=inputs, targets=split.targets, slices=split.slices)


def _replaced(split: project.Split, tensors: network.Tensors) -> project.Split:
    inputs = {name: tensor.numpy() for name, tensor in tensors.items()}
    return project.Split(inputs=inputs, targets=split.targets, slices=split.slices)


def cost(scores: Scores, column: evaluation.Column, *, confidence: float, seed: int) -> Cost:
    """Return what a column lost against the dense parent, row by row."""
    outcomes = scores["parent"] - scores[column]
    low, high = paired.interval(outcomes, confidence=confidence, seed=seed)
    return Cost(float(outcomes.mean()), low, high)


def worst(found: Mapping[Stress, Scores], rules: evaluation.Rules) -> tuple[Stress, Cost]:
    """Return the stress under which a loss against the dense parent is surest, and that loss.

    The intervals are widened for the number of stresses (Bonferroni), so that the worst of many
    harmless ones exceeds a limit no more often than one alone would.
    """
    stresses = [stress for stress in found if stress != CLEAN]
    confidence = 1.0 - (1.0 - rules.confidence) / len(stresses)
    costs = {
        stress: cost(found[stress], "candidate", confidence=confidence, seed=rules.seed)
        for stress in stresses
    }
    return max(costs.items(), key=lambda pair: (pair[1].low, pair[1].drop))


def _section(found: Mapping[Stress, Scores], rows: int, rules: evaluation.Rules) -> section.Section:
    stress, surest = worst(found, rules)
    calm = cost(found[CLEAN], "candidate", confidence=rules.confidence, seed=rules.seed)
    return section.Section(
        name=NAME,
        title=TITLE,
        status="measured",
        sentence=_sentence(stress, surest, calm),
        figures={
            "worst_drop": _figure(surest),
            "clean_drop": _figure(calm),
            **_strongest(found, rules),
            "rows": section.Figure(value=float(rows)),
        },
        tables=(_table(found, rules),),
        charts=tuple(_charts(found)),
    )


def _sentence(stress: Stress, surest: Cost, calm: Cost) -> str:
    if surest.low > 0:
        return (
            f"Less robust than its dense parent: under {stress} the candidate loses "
            f"{probing.points(surest.drop)} against it, where it loses {probing.points(calm.drop)} "
            f"on clean rows."
        )
    return (
        f"No loss of robustness against the dense parent is shown; the largest that may be is "
        f"{probing.points(surest.high)}, under {stress}."
    )


def _figure(found: Cost) -> section.Figure:
    return section.Figure(
        value=found.drop, low=found.low, high=found.high, unit="points", better="lower"
    )


def _strongest(
    found: Mapping[Stress, Scores], rules: evaluation.Rules
) -> dict[str, section.Figure]:
    """Return the drop under the strongest PGD, and each model's own score there."""
    stress = [each for each in found if each.name == "PGD"][-1:]
    if not stress:
        return {}
    drop = cost(found[stress[0]], "candidate", confidence=rules.confidence, seed=rules.seed)
    scores = found[stress[0]]
    return {"pgd_drop": _figure(drop)} | {
        f"pgd_score_{column}": section.Figure(
            value=float(values.mean()), unit="share", better="higher"
        )
        for column, values in scores.items()
    }


def _table(found: Mapping[Stress, Scores], rules: evaluation.Rules) -> section.Table:
    columns: tuple[evaluation.Column, ...] = tuple(found[CLEAN])
    others: tuple[evaluation.Column, ...] = tuple(column for column in columns if column == "null")
    return section.Table(
        title="Mean score by what is done to the holdout, and what is lost against the parent",
        columns=(
            "done to the rows",
            *(probing.COLUMNS[column] for column in columns),
            "candidate's drop",
            "low",
            "high",
            *("null control's drop" for _ in others),
        ),
        rows=tuple(
            (
                str(stress),
                *(float(scores[column].mean()) for column in columns),
                *cost(scores, "candidate", confidence=rules.confidence, seed=rules.seed),
                *(float((scores["parent"] - scores[column]).mean()) for column in others),
            )
            for stress, scores in found.items()
        ),
    )


def _charts(found: Mapping[Stress, Scores]) -> Iterator[section.Chart]:
    for attack in ("FGSM", "PGD"):
        stresses = [CLEAN, *(stress for stress in found if stress.name == attack)]
        if len(stresses) > 1:
            yield section.Chart(
                title=f"Score under {attack}",
                kind="lines",
                x=f"furthest that a value may move ({stresses[-1].unit})",
                y="mean score",
                series={
                    probing.COLUMNS[column]: tuple(
                        (stress.level, float(found[stress][column].mean())) for stress in stresses
                    )
                    for column in found[CLEAN]
                },
            )
    everyday = [stress for stress in found if stress.name not in {"clean", "FGSM", "PGD"}]
    yield section.Chart(
        title="Score lost to everyday damage",
        kind="bars",
        x="damage",
        y="points lost against the dense parent",
        series={
            probing.COLUMNS[column]: tuple(
                (float(place), 100 * float((found[each]["parent"] - found[each][column]).mean()))
                for place, each in enumerate(everyday)
            )
            for column in found[CLEAN]
            if column != "parent"
        },
        labels=tuple(str(stress) for stress in everyday),
    )
