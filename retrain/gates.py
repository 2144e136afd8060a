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
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coppice import settings
from retrain.evaluate import evaluation, latency, paired

_NAMES: dict[evaluation.Column, str] = {
    "parent": "the dense parent",
    "null": "the null control",
}


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate said: `sentence` names the gate, the figure and the threshold."""

    name: str
    passed: bool
    figure: float
    threshold: float
    sentence: str


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


def refusals(results: Sequence[GateResult]) -> tuple[str, ...]:
    """Return the sentences of the gates that failed; none means accepted."""
    return tuple(result.sentence for result in results if not result.passed)


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
        name=name, passed=passed, figure=found.drop, threshold=allowed, sentence=sentence
    )


def _floor(table: evaluation.Table, least: float) -> GateResult:
    score = table.score("candidate")
    passed = score >= least
    verdict = "reaches" if passed else "lies below"
    sentence = f"gate 'min score': a mean score of {score:.4f} {verdict} the {least:.4f} required"
    return GateResult(
        name="min score", passed=passed, figure=score, threshold=least, sentence=sentence
    )


def _gain(found: latency.Latency, least: float) -> GateResult:
    passed = found.high >= least
    verdict = "is not shown to miss" if passed else "misses"
    sentence = (
        f"gate 'latency': {found.gain:.2f} times as fast as the dense parent (between "
        f"{found.low:.2f} and {found.high:.2f}) {verdict} the {least:.2f} required"
    )
    return GateResult(
        name="latency", passed=passed, figure=found.gain, threshold=least, sentence=sentence
    )
