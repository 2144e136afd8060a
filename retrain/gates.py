"""Offline acceptance: figures and settings in, one result for each gate out. Pure.

When is a drop too large? A holdout of some hundred rows cannot tell a loss of one point from luck,
so a drop is refused only where it is *shown* to exceed what is allowed: the lower end of its paired
confidence interval lies above the threshold. This is deliberately the kind side. A small true loss
may pass here, and meets the strict judge afterwards: live paired evidence, which promotes only what
is shown to be harmless. What the gates are for is to stop, before any traffic, what is surely bad.
The other way round (refuse unless shown harmless) no holdout below some thousand rows would ever
let a candidate pass at the default threshold of one point; refusing on the bare observed drop
would refuse a harmless candidate every other time.

The same holds for latency, whose rounds are noisy: it is refused where the upper end of the gain's
interval lies below the threshold. `min_score` is a floor that somebody set by hand, and is strict.

With a production window two more gates apply to it: the candidate must not be shown to be worse
than the current champion, and the drop against the dense parent or null control is limited there
too, so that a pruning that failed in production cannot pass on the old holdout.

The figures of deeper sections have gates too. One whose figure was not measured is listed as not
judged, so that nobody takes silence for a pass; a project that insists names it in `require`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from coppice import settings
from retrain.evaluate import evaluation, latency, paired, section

Unit: TypeAlias = Literal["", "drop", "rise", "share", "times"]
"""How a figure is written: `drop` and `rise` are changes in points, `share` is a percentage."""

_NAMES: dict[evaluation.Column, str] = {
    "parent": "the dense parent",
    "null": "the null control",
}


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate said: `sentence` names the gate, the figure and the threshold."""

    name: str
    passed: bool
    figure: float | None
    """`None` where it was not measured."""
    threshold: float
    sentence: str
    judged: bool = True
    """Whether there was a figure to judge; one that was not judged has not passed either."""
    unit: Unit = ""
    nearest: str = ""
    """Which recipe is known to pass, where this one did not."""

    @property
    def refused(self) -> bool:
        """Whether this gate stands in the way."""
        return self.judged and not self.passed


@dataclasses.dataclass(frozen=True, kw_only=True)
class SectionGate:
    """A limit on one figure of a section.

    Attributes
    ----------
    name
        Of the gate.
    section, figure
        Where the figure stands.
    limit
        Field of `[gates]` that holds the threshold.
    what
        The figure in words.
    sense
        Whether the threshold is the most or the least that is allowed.
    unit
        How the figure is written.
    """

    name: str
    section: str
    figure: str
    limit: str
    what: str
    sense: Literal["most", "least"] = "most"
    unit: Unit = "share"


SECTION_GATES = (
    SectionGate(
        name="robustness",
        section="robustness",
        figure="worst_drop",
        limit="max_robustness_drop",
        what="the largest extra loss of score under attack or corruption",
        unit="drop",
    ),
    SectionGate(
        name="privacy",
        section="privacy",
        figure="membership_auc_rise",
        limit="max_membership_auc_rise",
        what="the rise of the membership attack's AUC",
        unit="rise",
    ),
    SectionGate(
        name="fairness",
        section="fairness",
        figure="gap_rise",
        limit="max_fairness_gap_rise",
        what="the widening of the gap between groups",
        unit="rise",
    ),
    SectionGate(
        name="leaked holdout",
        section="data",
        figure="leaked_share",
        limit="max_leaked_share",
        what="the share of holdout rows found in training",
    ),
    SectionGate(
        name="label issues",
        section="labels",
        figure="issue_share",
        limit="max_label_issue_share",
        what="the estimated share of wrong training labels",
    ),
    SectionGate(
        name="independent labels",
        section="labels",
        figure="independent_share",
        limit="min_independent_label_share",
        what="the share of production labels given without seeing the prediction",
        sense="least",
    ),
)
"""Every gate on a section, in the order in which they are listed."""


def check(judged: evaluation.Evaluation, rules: settings.GateSettings) -> tuple[GateResult, ...]:
    """Put an evaluation through every gate that applies to it, in a fixed order."""
    results = [_drop("score", judged.holdout, "the holdout", rules.max_score_drop)]
    results += _slice_drops(judged.holdout, rules)
    results.append(_floor(judged.holdout, rules.min_score))
    if judged.latency is not None:
        results.append(_gain(judged.latency, rules.min_latency_gain))
    if judged.production is not None:
        results += _production(judged.production, rules)
    return tuple(results)


def check_all(
    judged: evaluation.Evaluation,
    sections: Mapping[str, section.Section],
    rules: settings.GateSettings,
) -> tuple[GateResult, ...]:
    """Put scores, latency, and every section through the gates."""
    return check(judged, rules) + check_sections(sections, rules)


def check_sections(
    sections: Mapping[str, section.Section], rules: settings.GateSettings
) -> tuple[GateResult, ...]:
    """Judge the sections' figures, and list those that there are not."""
    return tuple(_judge_section(gate, sections.get(gate.section), rules) for gate in SECTION_GATES)


def refusals(results: Sequence[GateResult]) -> tuple[str, ...]:
    """Return the sentences of the gates that failed; none means accepted."""
    return tuple(
        f"{result.sentence}; {result.nearest}" if result.nearest else result.sentence
        for result in results
        if result.refused
    )


def status(refused: Sequence[str], *, force: bool) -> Literal["accepted", "forced", "refused"]:
    """Say what becomes of a candidate with these refusals.

    >>> [status(refused, force=True) for refused in ((), ("too slow",))]
    ['accepted', 'forced']
    """
    if not refused:
        return "accepted"
    return "forced" if force else "refused"


def not_judged(results: Sequence[GateResult]) -> tuple[str, ...]:
    """Return the names of the gates that had no figure to judge."""
    return tuple(result.name for result in results if not result.judged)


def advise(results: Sequence[GateResult], nearest: str) -> tuple[GateResult, ...]:
    """Tell every refusal which recipe is known to pass; an empty text where none is."""
    return tuple(
        msgspec.structs.replace(result, nearest=nearest) if result.refused else result
        for result in results
    )


def _judge_section(
    gate: SectionGate, found: section.Section | None, rules: settings.GateSettings
) -> GateResult:
    limit: float = getattr(rules, gate.limit)
    figure = found.figures.get(gate.figure) if found is not None else None
    if figure is None:
        return _unmeasured(gate, limit, found, required=gate.section in rules.require)
    return _judge_figure(gate, figure, limit)


def _unmeasured(
    gate: SectionGate, limit: float, found: section.Section | None, *, required: bool
) -> GateResult:
    if found is None:
        why = f"section {gate.section!r} was not made"
    elif found.status == "measured":
        why = f"section {gate.section!r} has no such figure here"
    else:
        why = found.sentence.rstrip(".").removeprefix("Not measured: ")
    verdict = "is required and was not measured" if required else "was not judged"
    sentence = f"gate {gate.name!r}: {gate.what} {verdict} ({why})"
    return GateResult(
        name=gate.name,
        passed=False,
        figure=None,
        threshold=limit,
        sentence=sentence,
        judged=required,
        unit=gate.unit,
    )


def _judge_figure(gate: SectionGate, figure: section.Figure, limit: float) -> GateResult:
    """Refuse only what is shown to lie beyond the limit, by the near end of the interval."""
    if gate.sense == "most":
        passed = _or(figure.low, figure.value) <= limit
        verdict = "stays within" if figure.value <= limit else "is not shown to exceed"
        verdict = verdict if passed else "exceeds"
    else:
        passed = _or(figure.high, figure.value) >= limit
        verdict = "reaches" if figure.value >= limit else "is not shown to miss"
        verdict = verdict if passed else "misses"
    bound = "allowed" if gate.sense == "most" else "required"
    sentence = (
        f"gate {gate.name!r}: {gate.what} is {_between(figure, gate.unit)}, which {verdict} the "
        f"{_write(limit, gate.unit)} {bound}"
    )
    return GateResult(
        name=gate.name,
        passed=passed,
        figure=figure.value,
        threshold=limit,
        sentence=sentence,
        unit=gate.unit,
    )


def _or(end: float | None, value: float) -> float:
    return value if end is None else end


def _between(figure: section.Figure, unit: Unit) -> str:
    value = _write(figure.value, unit)
    if figure.low is None or figure.high is None:
        return value
    return f"{value} (between {_write(figure.low, unit)} and {_write(figure.high, unit)})"


def _write(value: float, unit: Unit) -> str:
    return f"{100 * value:.2f}%" if unit == "share" else f"{100 * value:.2f} points"


def _drop(name: str, table: evaluation.Table, where: str, allowed: float) -> GateResult:
    against = f"{_NAMES[table.yardstick]} on {where}"
    return _judge_drop(name, table.comparisons[table.yardstick], against, allowed)


def _slice_drops(table: evaluation.Table, rules: settings.GateSettings) -> list[GateResult]:
    return [
        _judge_drop(
            f"slice {name}", found, f"{_NAMES[table.yardstick]} on it", rules.max_slice_drop
        )
        for name, found in table.slices.items()
        if found.rows >= rules.min_slice_rows
    ]


def _production(table: evaluation.Table, rules: settings.GateSettings) -> list[GateResult]:
    results = [_drop("production score", table, "recent production", rules.max_score_drop)]
    if "champion" in table.comparisons:
        against = "the champion on recent production"
        found = table.comparisons["champion"]
        results.append(_judge_drop("production champion", found, against, 0.0))
    return results


def _judge_drop(name: str, found: paired.Comparison, against: str, allowed: float) -> GateResult:
    passed = found.low <= allowed
    verdict = "is not shown to exceed" if passed else "exceeds"
    sentence = (
        f"gate {name!r}: a drop of {100 * found.drop:.2f} points (between {100 * found.low:.2f} "
        f"and {100 * found.high:.2f}, {found.rows} rows) against {against} {verdict} "
        f"the {100 * allowed:.2f} allowed"
    )
    return GateResult(
        name=name,
        passed=passed,
        figure=found.drop,
        threshold=allowed,
        sentence=sentence,
        unit="drop",
    )


def _floor(table: evaluation.Table, least: float) -> GateResult:
    score = table.score("candidate")
    passed = score >= least
    verdict = "reaches" if passed else "lies below"
    sentence = f"gate 'min score': a mean score of {score:.4f} {verdict} the {least:.4f} required"
    return GateResult(
        name="min score",
        passed=passed,
        figure=score,
        threshold=least,
        sentence=sentence,
        unit="share",
    )


def _gain(found: latency.Latency, least: float) -> GateResult:
    passed = found.high >= least
    verdict = "is not shown to miss" if passed else "misses"
    sentence = (
        f"gate 'latency': {found.gain:.2f} times as fast as the dense parent (between "
        f"{found.low:.2f} and {found.high:.2f}) {verdict} the {least:.2f} required"
    )
    return GateResult(
        name="latency",
        passed=passed,
        figure=found.gain,
        threshold=least,
        sentence=sentence,
        unit="times",
    )
