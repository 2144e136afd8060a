"""Ablation: which parts carry the model, and which could still go.

Each block, each layer and each quarter of each group of coupled channels is taken out in turn, and
the score that is lost is measured on validation rows: what is found here may decide the next
recipe, and the holdout must not. Nothing is trained afterwards, so a drop is more than removing the
part for good would cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import nn

from coppice import project
from coppice.labels import Floats
from retrain import network
from retrain.evaluate import evaluation, paired, probing, removal, section

NAME, TITLE = "ablation", "Ablation"
MOST_ROWS = 500
"""Validation rows at most."""
MOST_PARTS = 60
"""Parts, and as many quarters of channels, that are tried: outermost first, then largest."""
MOST_BARS = 25
"""Bars of the chart."""
_TRACED_ROWS = 2


class Drop(NamedTuple):
    """What taking one part out costs the candidate, and what its dense parent."""

    part: str
    kind: str
    size: int
    """Parameters, or channels for a quarter of them."""
    drop: float
    low: float
    high: float
    parent: float | None
    """`None` where the parent has no such part."""

    def idle(self, allowed: float) -> bool:
        """Say whether no more than allowed is lost, and no loss at all is shown."""
        return self.drop <= allowed and self.low <= 0.0


class _Plan:
    """Everything that is to be taken out of one network."""

    def __init__(self, model: nn.Module, example: network.Tensors) -> None:
        self.model = model
        found = sorted(
            removal.parts(model, example), key=lambda part: (part.depth, -part.parameters)
        )
        self.parts = found[:MOST_PARTS]
        self.quarters = removal.quarters(model, example)[:MOST_PARTS]

    @property
    def passes(self) -> int:
        """Forward passes per row."""
        return 1 + sum(len(part.ways) for part in self.parts) + len(self.quarters)

    def sizes(self) -> dict[str, tuple[str, int]]:
        """Return kind and size of each part by name."""
        named = {part.name: (f"{part.kind} {part.what}", part.parameters) for part in self.parts}
        return named | {quarter.name: ("channels", quarter.units) for quarter in self.quarters}

    def outcomes(
        self, split: project.Split, rules: evaluation.Rules
    ) -> Iterator[tuple[str, Floats]]:
        """Yield what each row loses without each part."""
        whole = probing.scores(self.model, split, rules)
        for part in self.parts:
            yield part.name, self._without(part, split, rules, whole)
        for quarter in self.quarters:
            yield quarter.name, whole - probing.scores(quarter.without, split, rules)

    def _without(
        self, part: removal.Part, split: project.Split, rules: evaluation.Rules, whole: Floats
    ) -> Floats:
        """Return what each row loses without a part, taken out in the way that changes fewest.

        Not in the way that loses least: that one may owe it to luck.
        """
        tried = []
        for how in part.ways:
            with removal.without(self.model, part.name, how):
                tried.append(whole - probing.scores(self.model, split, rules))
        return min(tried, key=lambda outcomes: float(np.abs(outcomes).mean()))


def measure(subject: section.Subject) -> section.Section:
    """Take every part out of the candidate in turn, and out of its dense parent."""
    columns: tuple[evaluation.Column, ...] = ("candidate", "parent")
    with probing.held(subject) as models:
        rows = subject.data.validation
        example = network.to_tensors(rows.take(np.arange(min(_TRACED_ROWS, rows.rows))).inputs)
        plans: dict[evaluation.Column, _Plan] = {
            column: _Plan(models[column], example) for column in columns
        }
        passes = sum(plan.passes for plan in plans.values())
        split = probing.affordable(subject, rows, passes=passes, most=MOST_ROWS)
        found: dict[evaluation.Column, dict[str, Floats]] = {
            column: dict(plan.outcomes(split, subject.rules)) for column, plan in plans.items()
        }
    if not found["candidate"]:
        return probing.unmeasured(NAME, TITLE, "no part of the network can be taken out by itself")
    return _section(_drops(plans["candidate"], found, subject.rules), subject, split.rows)


def _drops(
    plan: _Plan,
    found: Mapping[evaluation.Column, Mapping[str, Floats]],
    rules: evaluation.Rules,
) -> list[Drop]:
    """Return the parts, the one that carries most first."""
    dense = found["parent"]
    drops = []
    for part, (kind, size) in plan.sizes().items():
        outcomes = found["candidate"][part]
        low, high = paired.interval(outcomes, confidence=rules.confidence, seed=rules.seed)
        parent = float(dense[part].mean()) if part in dense else None
        drops.append(Drop(part, kind, size, float(outcomes.mean()), low, high, parent))
    return sorted(drops, key=lambda drop: -drop.drop)


def _section(drops: Sequence[Drop], subject: section.Subject, rows: int) -> section.Section:
    allowed = subject.own.settings.gates.max_score_drop
    idle = [drop for drop in drops if drop.idle(allowed)]
    return section.Section(
        name=NAME,
        title=TITLE,
        status="measured",
        sentence=_sentence(drops, idle, allowed),
        figures={
            "largest_drop": section.Figure(
                value=drops[0].drop, low=drops[0].low, high=drops[0].high, unit="points"
            ),
            "parts": section.Figure(value=float(len(drops))),
            "idle_parts": section.Figure(value=float(len(idle))),
            "rows": section.Figure(value=float(rows)),
        },
        tables=(_table(drops, allowed),),
        charts=(_chart(drops),),
    )


def _sentence(drops: Sequence[Drop], idle: Sequence[Drop], allowed: float) -> str:
    first = drops[0]
    carried = (
        f"Most hangs on {first.part!r} ({first.kind}): without it the candidate loses "
        f"{probing.points(first.drop)}."
    )
    if not idle:
        return f"{carried} No part could go untrained for {probing.points(allowed)} or less."
    names = ", ".join(repr(drop.part) for drop in idle[-3:])
    more = f", and {len(idle) - 3} more" if len(idle) > 3 else ""
    return (
        f"{carried} {len(idle)} of {len(drops)} parts could each still go for "
        f"{probing.points(allowed)} or less: {names}{more}."
    )


def _table(drops: Sequence[Drop], allowed: float) -> section.Table:
    return section.Table(
        title="Score lost on validation rows without each part, one at a time",
        columns=("part", "kind", "size", "drop", "low", "high", "dense parent's drop", "could go"),
        rows=tuple((*drop, "yes" if drop.idle(allowed) else "") for drop in drops),
    )


def _chart(drops: Sequence[Drop]) -> section.Chart:
    shown = drops[:MOST_BARS]
    return section.Chart(
        title="What each part carries",
        kind="bars",
        x="part",
        y="points lost without it",
        series={
            "candidate": tuple((float(at), 100 * drop.drop) for at, drop in enumerate(shown)),
            "dense parent": tuple(
                (float(at), 100 * drop.parent)
                for at, drop in enumerate(shown)
                if drop.parent is not None
            ),
        },
        labels=tuple(drop.part for drop in shown),
    )
