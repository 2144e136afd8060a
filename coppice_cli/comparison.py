"""Two versions side by side, figure by figure, from their cards alone. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from retrain import card, gates
from retrain.evaluate import evaluation, section
from retrain.pruning import wording

Better: TypeAlias = Literal["higher", "lower"] | None
LOWER = frozenset({"log_loss", "calibration_error", "brier", "mae", "rmse"})
"""Figures of an evaluation of which less is better."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of both versions; `None` where a version has none."""

    name: str
    first: float | None
    second: float | None
    unit: str = ""
    better: Better = None

    @property
    def change(self) -> float | None:
        """Second minus first."""
        if self.first is None or self.second is None:
            return None
        return self.second - self.first

    @property
    def worse(self) -> bool:
        """Whether the second lies on the wrong side of the first."""
        if not self.change or self.better is None:
            return False
        return (self.change < 0) == (self.better == "higher")


def rows(first: card.Card, second: card.Card, *, every: bool = False) -> list[Row]:
    """Put two cards side by side.

    Parameters
    ----------
    every
        Take all figures of the sections, where otherwise only those that a gate judges are taken.
    """
    pairs = {
        "recipe": (_recipe(first), _recipe(second)),
        "scores": (_scores(first), _scores(second)),
        "cost": (_cost(first), _cost(second)),
        "sections": (_sections(first, every=every), _sections(second, every=every)),
    }
    return [row for before, after in pairs.values() for row in _joined(before, after)]


def _joined(
    before: Mapping[str, section.Figure], after: Mapping[str, section.Figure]
) -> Iterator[Row]:
    for name in dict.fromkeys([*before, *after]):
        here, there = before.get(name), after.get(name)
        one = here or there
        assert one is not None
        yield Row(
            name=name,
            first=here.value if here else None,
            second=there.value if there else None,
            unit=one.unit,
            better=one.better,
        )


def _recipe(made: card.Card) -> dict[str, section.Figure]:
    if made.recipe is None:
        return {}
    shares = {
        noun: wording.removed(made.recipe, level)
        for level, noun in wording.NOUNS.items()
        if any(step.level == level for step in made.recipe.steps)
    }
    found = {
        f"{noun} removed": section.Figure(value=share, unit="share")
        for noun, share in shares.items()
        if share is not None
    }
    return found | {
        "cuts": section.Figure(value=len(made.recipe.dues) * len(made.recipe.steps)),
        "recovery epochs": section.Figure(value=made.recipe.finetune_epochs),
    }


def _scores(made: card.Card) -> dict[str, section.Figure]:
    tables = {"": made.evaluation.holdout, "production ": made.evaluation.production}
    return {
        where + name: found
        for where, table in tables.items()
        if table is not None
        for name, found in _table(table).items()
    }


def _table(table: evaluation.Table) -> dict[str, section.Figure]:
    # A dense parent has no candidate; it is its own.
    own: evaluation.Column = "candidate" if "candidate" in table.columns else table.yardstick
    found = {
        name: section.Figure(
            value=value,
            unit="share" if name in {"score", "calibration_error"} else "",
            better="lower" if name in LOWER else "higher",
        )
        for name, value in table.columns[own].items()
        if name != "rows"
    }
    if table.yardstick in table.comparisons:
        drop = table.comparisons[table.yardstick].drop
        found["drop"] = section.Figure(value=drop, unit="points", better="lower")
    for name, one in table.slices.items():
        found[f"drop on {name}"] = section.Figure(value=one.drop, unit="points", better="lower")
    return found


def _cost(made: card.Card) -> dict[str, section.Figure]:
    found: dict[str, section.Figure] = {}
    if made.evaluation.latency is not None:
        timed = made.evaluation.latency
        found["latency"] = section.Figure(value=timed.candidate_seconds, unit="s", better="lower")
        found["gain"] = section.Figure(value=timed.gain, unit="times", better="higher")
    who = "candidate" if "candidate_macs" in made.cost else "parent"
    for name in ("macs", "parameters", "nonzero", "compressed_bytes"):
        if f"{who}_{name}" in made.cost:
            found[name] = section.Figure(value=made.cost[f"{who}_{name}"], better="lower")
    return found


def _sections(made: card.Card, *, every: bool) -> dict[str, section.Figure]:
    judged = {(gate.section, gate.figure) for gate in gates.SECTION_GATES}
    return {
        f"{each.name}: {name}": figure
        for each in made.sections.values()
        for name, figure in each.figures.items()
        if every or (each.name, name) in judged
    }
