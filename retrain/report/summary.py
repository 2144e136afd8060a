"""The first screen, for whoever has to decide: verdict, four figures, what got worse for whom.

Pure: a card in, sentences out.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

from retrain import card, gates
from retrain.evaluate import evaluation, paired
from retrain.report import words

Tone: TypeAlias = Literal["good", "bad", "plain"]
MOST_LOSSES = 6
"""Losses on the first screen; the tables below have them all."""
MASKED = 0.99
"""Below this share of parameters that are not zero, single weights were pruned."""
NAMES: dict[evaluation.Column, str] = {
    "parent": "dense parent",
    "null": "null control",
    "candidate": "candidate",
    "champion": "champion",
}
"""What a reader calls each column, in the order in which they stand side by side."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Headline:
    """One of the figures that everybody asks for."""

    label: str
    value: str
    note: str
    tone: Tone = "plain"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """What got worse, and for whom; `sure` says whether chance is ruled out."""

    whom: str
    text: str
    sure: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """The first screen."""

    verdict: Literal["accepted", "forced", "refused", "dense"]
    sentence: str
    headlines: tuple[Headline, ...]
    losses: tuple[Loss, ...]
    unjudged: tuple[str, ...]


def summarise(made: card.Card) -> Summary:
    """Say what a card comes to."""
    pruned = made.recipe is not None and bool(made.evaluation.holdout.comparisons)
    return Summary(
        verdict=made.status if pruned else "dense",  # type: ignore[arg-type]
        sentence=sentence(made) if pruned else _dense(made),
        headlines=_headlines(made) if pruned else (),
        losses=losses(made) if pruned else (),
        unjudged=gates.not_judged(made.gates),
    )


def sentence(made: card.Card) -> str:
    """Say the verdict on a pruned version in one sentence."""
    refused = [result for result in made.gates if result.refused]
    judged = [result for result in made.gates if result.judged]
    match made.status:
        case "accepted":
            return f"This version may be rolled out: {_traded(made)}, and no gate refuses it."
        case "forced":
            return (
                f"This version was forced past {_count(len(refused), 'gate')} that "
                f"{'refuses' if len(refused) == 1 else 'refuse'} it ({_first(refused)}): "
                f"{_traded(made)}."
            )
        case _:
            return (
                f"This version must not be rolled out: {len(refused)} of "
                f"{_count(len(judged), 'gate')} {'refuses' if len(refused) == 1 else 'refuse'} it "
                f"({_first(refused)}); {_traded(made)}."
            )


def _dense(made: card.Card) -> str:
    table = made.evaluation.holdout
    return (
        f"This is a dense parent, {made.lineage.origin}: nothing was pruned, so no gate judges it; "
        f"its mean score on the holdout is {words.number(table.score('parent'), 'share')}."
    )


def _traded(made: card.Card) -> str:
    """Say what was gained for what: speed first, then score."""
    found = against(made.evaluation.holdout)
    verb = "loses" if found.drop > 0 else "gains"
    score = (
        f"{verb} {100 * abs(found.drop):.2f} points of score" if found.drop else "keeps its score"
    )
    if made.evaluation.latency is None:
        return f"it {score}, and its speed was not measured"
    return (
        f"it answers {made.evaluation.latency.gain:.2f} times as fast as its dense parent and "
        f"{score}"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _first(refused: list[gates.GateResult]) -> str:
    names = ", ".join(result.name for result in refused[:3])
    more = len(refused) - 3
    return names + (f" and {more} more" if more > 0 else "")


def against(table: evaluation.Table) -> paired.Comparison:
    """Return the comparison that counts: with the better of dense parent and null control."""
    return table.comparisons[table.yardstick]


def _headlines(made: card.Card) -> tuple[Headline, ...]:
    return (_score(made), _speed(made), _size(made), _slice(made))


def _score(made: card.Card) -> Headline:
    table = made.evaluation.holdout
    found = against(table)
    return Headline(
        label="Mean score on the holdout",
        value=words.number(table.score("candidate"), "share"),
        note=(
            f"{-100 * found.drop:+z.2f} points against the {NAMES[table.yardstick]} "
            f"(between {-100 * found.high:+.2f} and {-100 * found.low:+.2f})"
        ),
        tone=_tone(found),
    )


def _tone(found: paired.Comparison) -> Tone:
    if found.low > 0:
        return "bad"
    return "good" if found.high < 0 else "plain"


def _speed(made: card.Card) -> Headline:
    timed = made.evaluation.latency
    if timed is None:
        return Headline(label="Speed", value="-", note="not measured")
    return Headline(
        label="Speed against the dense parent",
        value=f"{timed.gain:.2f}x",
        note=(
            f"{words.number(timed.candidate_seconds, 's')} against "
            f"{words.number(timed.parent_seconds, 's')} for one row"
        ),
        tone="good" if timed.low > 1 else "bad" if timed.high < 1 else "plain",
    )


def _size(made: card.Card) -> Headline:
    before, after = (made.cost.get(f"{who}_parameters", 0.0) for who in ("parent", "candidate"))
    if not before or not after:
        return Headline(label="Size", value="-", note="not measured")
    nonzero = made.cost.get("candidate_nonzero", after)
    masked = f", {nonzero:,.0f} of them not zero" if nonzero < MASKED * after else ""
    return Headline(
        label="Size against the dense parent",
        value=f"{100 * after / before:.0f}%",
        note=f"{after:,.0f} of {before:,.0f} parameters are left{masked}",
        tone="good" if after < before else "plain",
    )


def _slice(made: card.Card) -> Headline:
    found = made.evaluation.holdout.slices
    if not found:
        return Headline(label="Worst slice", value="-", note="no slices are declared")
    # By what is shown, not by what is seen: few rows swing widely.
    name = max(found, key=lambda each: (found[each].low, found[each].drop))
    worst = found[name]
    return Headline(
        label="Slice that lost most surely",
        value=f"{-100 * worst.drop:+z.2f} points",
        note=f"{name}, {worst.rows:,} rows{'' if worst.low > 0 else '; chance is not ruled out'}",
        tone=_tone(worst),
    )


def losses(made: card.Card) -> tuple[Loss, ...]:
    """Say what got worse, and for whom: what is sure first, the largest first."""
    tables = {"": made.evaluation.holdout, " in production": made.evaluation.production}
    found = [
        (comparison, name + where)
        for where, table in tables.items()
        if table is not None
        for name, comparison in table.slices.items()
        if comparison.drop > 0
    ]
    found.sort(key=lambda pair: (pair[0].low > 0, pair[0].drop), reverse=True)
    listed = [
        Loss(
            whom=whom,
            text=(
                f"{100 * comparison.drop:.2f} points of score lost on {comparison.rows:,} rows "
                f"(between {100 * comparison.low:.2f} and {100 * comparison.high:.2f})"
            ),
            sure=comparison.low > 0,
        )
        for comparison, whom in found
    ]
    return (*_gate_losses(made), *listed)[:MOST_LOSSES]


def _gate_losses(made: card.Card) -> tuple[Loss, ...]:
    """List the refusals on sections, which no slice tells of."""
    ours = {gate.name: gate for gate in gates.SECTION_GATES}
    return tuple(
        Loss(
            whom=result.name,
            text=f"{ours[result.name].what}: {words.gate_value(result, result.figure)}",
            sure=True,
        )
        for result in made.gates
        if result.refused and result.name in ours
    )
