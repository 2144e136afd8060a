"""Section `slices`: who pays for the pruning, among those that were named and those that were not.

Declared slices and classes are judged against a margin: shown to be no worse than it, shown to be
worse, or open. Beside them the subsets that pay most are searched for, over slices, classes,
columns and statistics of the inputs, and tested on rows that the search has not seen. The same
search between dense parent and null control says what training alone does.
"""

from __future__ import annotations

from typing import NamedTuple

from coppice import project
from coppice.labels import Floats
from retrain.evaluate import (
    answers,
    conditions,
    evaluation,
    noninferiority,
    paired,
    search,
    section,
    slices,
)

_STATES = {
    "no worse": "no worse than the margin",
    "worse": "worse than the margin",
    "open": "open",
    "too few rows": "too few rows to judge",
}
_TRAINED: tuple[evaluation.Column, ...] = ("parent", "null", "candidate")
MOST_BARS = 20
"""Slices that the picture shows, the worst ones."""


class Declared(NamedTuple):
    """The declared slices and classes on one set of rows."""

    where: str
    yardstick: evaluation.Column
    compared: dict[str, paired.Comparison]
    judged: dict[str, noninferiority.Judgement]

    def among(self, state: noninferiority.State) -> list[str]:
        """Return the slices of one state."""
        return [name for name, each in self.judged.items() if each.state == state]


class Searched(NamedTuple):
    """What a search found between two models."""

    before: evaluation.Column
    after: evaluation.Column
    known: tuple[conditions.Condition, ...]
    found: tuple[search.Found, ...]

    def shown(self) -> list[search.Found]:
        """Return the findings, without the proposals that their test did not bear out."""
        return [each for each in self.found if each.shown]

    def words(self, found: search.Found) -> str:
        """Name a subset."""
        return " and ".join(self.known[place].words for place in found.conditions)


def measure(subject: section.Subject) -> section.Section:
    """Judge the declared slices and search for others."""
    splits = answers.splits(subject)
    asked = {name: answers.ask(subject, split) for name, split in splits.items()}
    declared = [judge(subject, name, splits[name], asked[name]) for name in splits]
    yardstick = declared[0].yardstick
    other: evaluation.Column = "null" if yardstick == "parent" else "parent"
    harmed = look(subject, asked["holdout"], yardstick, "candidate")
    noise = look(subject, asked["holdout"], yardstick, other)
    margin = subject.own.settings.gates.max_slice_drop
    return section.Section(
        name="slices",
        title="Who pays for the pruning",
        status="measured",
        sentence=(
            f"{_declared_words(declared[0], margin, subject.rules)} {_found_words(subject, harmed)}"
        ),
        figures=_figures(declared, harmed, noise),
        tables=(
            *(_declared_table(each, margin) for each in declared),
            _found_table(harmed, "Subsets found to pay for the pruning"),
            _found_table(noise, "The same search where nothing was pruned: what training does"),
        ),
        charts=tuple(_chart(each) for each in declared),
    )


def judge(
    subject: section.Subject, where: str, split: project.Split, asked: answers.Answers
) -> Declared:
    """Judge every declared slice and class against the margin of the gates."""
    rules = subject.rules
    table = evaluation.tabulate(asked, split, rules)
    judged = noninferiority.judge(
        _pairs(asked, table.yardstick, "candidate", answers.targets(split), rules),
        slices.masks(split, rules.classes),
        margin=subject.own.settings.gates.max_slice_drop,
        confidence=rules.confidence,
        min_rows=rules.min_slice_rows,
    )
    return Declared(where, table.yardstick, table.slices, judged)


def look(
    subject: section.Subject,
    asked: answers.Answers,
    before: evaluation.Column,
    after: evaluation.Column,
) -> Searched:
    """Search the holdout for the subsets that lose most from one model to another."""
    rules, holdout = subject.rules, subject.data.holdout
    others: list[evaluation.Column] = [name for name in _TRAINED if name not in {before, after}]
    witness = others[0]
    known = conditions.conditions(
        holdout, rules.classes, witness=(answers.NAMES[witness], asked[witness])
    )
    found = search.find(
        known,
        _pairs(asked, before, after, answers.targets(holdout), rules),
        search.Plan(
            smallest=subject.own.settings.inspect.found_slice_rows,
            margin=subject.own.settings.gates.max_score_drop,
            confidence=rules.confidence,
            seed=rules.seed,
        ),
    )
    return Searched(before, after, known, found)


def _pairs(
    asked: answers.Answers,
    before: evaluation.Column,
    after: evaluation.Column,
    truth: Floats,
    rules: evaluation.Rules,
) -> paired.Pairs:
    return paired.pair(asked[before], asked[after], truth, task=rules.task, scale=rules.scale)


def _declared_words(found: Declared, margin: float, rules: evaluation.Rules) -> str:
    if not found.compared:
        return "No slices are declared, and there are no classes."
    worse = found.among("worse")
    parts = [
        f"{len(found.among('no worse'))} are shown to lose less than {margin:g} of score",
        f"{len(worse)} to lose more{f' ({_some(worse)})' if worse else ''}",
        f"{len(found.among('open'))} are open",
    ]
    few = found.among("too few rows")
    tail = f"; {len(few)} have too few rows to judge" if few else ""
    what = "slices" if rules.task == "regression" else "slices and classes"
    whole = f"Of {len(found.compared)} declared {what} {', '.join(parts)}{tail}."
    return f"{whole}{_needed_words(found, margin, rules)}"


def _needed_words(found: Declared, margin: float, rules: evaluation.Rules) -> str:
    """Say how many rows would close an open slice that loses nothing."""
    if not found.among("open") or rules.task == "regression" or margin <= 0.0:
        return ""
    judged = len(found.judged) - len(found.among("too few rows"))
    rows = noninferiority.rows_needed(margin, slices=judged, confidence=rules.confidence)
    return f" To be shown fine, a slice that loses nothing needs {rows} rows."


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _found_words(subject: section.Subject, harmed: Searched) -> str:
    smallest = subject.own.settings.inspect.found_slice_rows
    searched = f"among all subsets of at least {smallest} rows by one or two conditions"
    shown = harmed.shown()
    if not shown:
        least = search.least_losses(subject.rules.confidence)
        return (
            f"The search {searched} shows none that pays more than the rest; a subset must lose "
            f"at least {least} rows of the half that tests to be shown."
        )
    first = shown[0]
    return (
        f"The search {searched} finds {len(shown)} that pay more than the rest: where "
        f"{harmed.words(first)}, {first.comparison.drop:.3f} of score is lost "
        f"({first.comparison.low:.3f} to {first.comparison.high:.3f}), elsewhere "
        f"{first.elsewhere:.3f}."
    )


def _figures(
    declared: list[Declared], harmed: Searched, noise: Searched
) -> dict[str, section.Figure]:
    found: dict[str, section.Figure] = {}
    for each in declared:
        prefix = "" if each.where == "holdout" else f"{each.where}_"
        enough = [name for name, one in each.judged.items() if one.state != "too few rows"]
        if enough:
            worst = max((each.compared[name] for name in enough), key=lambda one: one.drop)
            found[f"{prefix}worst_slice_drop"] = _drop(worst)
        for state in ("no worse", "worse", "open"):
            name = f"{prefix}slices_{state.replace(' ', '_')}"
            found[name] = section.Figure(value=float(len(each.among(state))))
    found["found_slices"] = section.Figure(value=float(len(harmed.shown())), better="lower")
    found["found_slices_by_training_alone"] = section.Figure(value=float(len(noise.shown())))
    if harmed.shown():
        worst = max((one.comparison for one in harmed.shown()), key=lambda one: one.drop)
        found["worst_found_slice_drop"] = _drop(worst)
    return found


def _drop(found: paired.Comparison) -> section.Figure:
    return section.Figure(
        value=found.drop, low=found.low, high=found.high, unit="share", better="lower"
    )


def _declared_table(found: Declared, margin: float) -> section.Table:
    """List the slices, the worst first; their intervals share the chance of a false alarm."""
    return section.Table(
        title=(
            f"Declared slices and classes on the {found.where}: candidate against "
            f"{answers.NAMES[found.yardstick]}, margin {margin:g}"
        ),
        columns=("slice", "rows", "drop", "low", "high", "shown", "p no worse", "p worse"),
        rows=tuple(
            (
                name,
                each.rows,
                *(round(value, 4) for value in (each.drop, each.low, each.high)),
                _STATES[found.judged[name].state],
                _rounded(found.judged[name].no_worse),
                _rounded(found.judged[name].worse),
            )
            for name, each in _by_drop(found)
        ),
    )


def _by_drop(found: Declared) -> list[tuple[str, paired.Comparison]]:
    return sorted(found.compared.items(), key=lambda pair: -pair[1].drop)


def _rounded(chance: float | None) -> float | None:
    return None if chance is None else round(chance, 4)


def _found_table(found: Searched, title: str) -> section.Table:
    """List proposals with their tests; those not borne out are told as such, not hidden."""
    return section.Table(
        title=f"{title}: {answers.NAMES[found.after]} against {answers.NAMES[found.before]}",
        columns=(
            "subset",
            "rows",
            "drop where searched and tested",
            "rows that test",
            "drop in the test",
            "low",
            "high",
            "drop elsewhere",
            "adjusted p",
            "shown",
        ),
        rows=tuple(
            (
                found.words(each),
                each.rows,
                round(each.drop, 4),
                each.tested,
                *(
                    round(value, 4)
                    for value in (
                        each.comparison.drop,
                        each.comparison.low,
                        each.comparison.high,
                        each.elsewhere,
                        each.chance,
                    )
                ),
                "yes" if each.shown else "no",
            )
            for each in found.found
        ),
    )


def _chart(found: Declared) -> section.Chart:
    worst = _by_drop(found)[:MOST_BARS]
    return section.Chart(
        title=f"Score lost by slice on the {found.where}",
        kind="bars",
        x="slice",
        y="score lost",
        series={
            "candidate": tuple((float(at), each.drop) for at, (_, each) in enumerate(worst)),
        },
        labels=tuple(name for name, _ in worst),
    )
