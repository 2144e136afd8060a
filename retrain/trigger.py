"""Whether a verdict starts a retraining, and which: pure rules over a verdict and the situation.

============ ===================================================================================
cause        answer
============ ===================================================================================
pruning      keep the dense parent, cut less of it, and fine-tune on reference and production data
world        train the dense parent on reference and production data, then cut as before
release      nothing: the control plane goes back to the previous champion
undecided    nothing: the monitor says how many labels it still needs
============ ===================================================================================

A version whose pruning went too far may be gone by the time, because the control plane went back at
once; what it was cut from is still to be cut, only less. Any other verdict about a version that no
longer serves is stale.

A decision to *hold* is looked at again whenever the situation changes: when the cool-down ends,
labels arrive, or a rollout settles.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

from coppice import clock, records, settings

DAY = 86_400.0

Rule: TypeAlias = Literal[
    "answer",
    "disabled",
    "verdict",
    "cause",
    "stale",
    "rollout",
    "cooldown",
    "budget",
    "labels",
    "project",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Situation:
    """What a decision rests on besides the verdict.

    Attributes
    ----------
    champion
        Version that serves, as far as the log says.
    rolling_out
        Candidate that is being rolled out or waits for it.
    starts
        Times at which retrainings began, oldest first, seconds since 1970 UTC.
    attempts
        Retrainings that were already begun because of this champion's pruning.
    labels
        Labelled production rows that could be trained on.
    """

    champion: str | None = None
    rolling_out: str | None = None
    starts: tuple[float, ...] = ()
    attempts: int = 0
    labels: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do about a verdict.

    Attributes
    ----------
    action
        `start` now, `held` until the situation changes, or `ignore` for good.
    rule
        The rule that decided, for counting and for saying each thing once.
    reason
        The same as a sentence.
    keep_parent
        Whether the dense parent stays as it is; else it is trained again.
    amount_factor
        Factor on the amount that the champion's recipe removes.
    """

    action: Literal["start", "held", "ignore"]
    rule: Rule
    reason: str
    keep_parent: bool = False
    amount_factor: float = 1.0


def decide(
    verdict: records.Verdict, situation: Situation, rules: settings.RetrainSettings, now: float
) -> Decision:
    """Decide about one verdict.

    Examples
    --------
    >>> verdict = records.Verdict(model="m", version="m:1", scope="champion", kind="decay",
    ...                           cause="world", reason="accuracy fell")
    >>> decide(verdict, Situation(labels=57), settings.RetrainSettings(), now=0.0).reason
    '57 labelled production rows are there, 200 are needed'
    """
    return (
        _not_ours(verdict, situation, rules)
        or _wait_for_rollout(situation)
        or _wait_for_cooldown(situation, rules, now)
        or _wait_for_budget(situation, rules, now)
        or _wait_for_labels(situation, rules)
        or _answer(verdict, situation, rules)
    )


def _not_ours(
    verdict: records.Verdict, situation: Situation, rules: settings.RetrainSettings
) -> Decision | None:
    if not rules.enabled:
        return _ignore("disabled", "retrain.enabled is false")
    if verdict.scope != "champion" or verdict.kind != "decay":
        return _ignore("verdict", f"a {verdict.scope} that is {verdict.kind} needs no retraining")
    if verdict.cause == "release":
        return _ignore("cause", "the release is the cause: the rollout goes back, nothing is made")
    if verdict.cause not in ("pruning", "world"):
        return _ignore("cause", "the cause is undecided; the monitor is still asking for labels")
    gone = situation.champion is not None and verdict.version != situation.champion
    if gone and verdict.cause != "pruning":
        reason = f"the verdict is about {verdict.version}, but {situation.champion} serves by now"
        return _ignore("stale", reason)
    return None


def _wait_for_rollout(situation: Situation) -> Decision | None:
    if situation.rolling_out is None:
        return None
    return _hold("rollout", f"{situation.rolling_out} is on its way to production already")


def _wait_for_cooldown(
    situation: Situation, rules: settings.RetrainSettings, now: float
) -> Decision | None:
    if not situation.starts or now >= situation.starts[-1] + rules.cooldown_seconds:
        return None
    until = clock.rfc3339(situation.starts[-1] + rules.cooldown_seconds)
    return _hold("cooldown", f"the cool-down after the last retraining ends at {until}")


def _wait_for_budget(
    situation: Situation, rules: settings.RetrainSettings, now: float
) -> Decision | None:
    recent = [start for start in situation.starts if start > now - DAY]
    if len(recent) < rules.budget_per_day:
        return None
    until = clock.rfc3339(recent[-rules.budget_per_day] + DAY)
    return _hold("budget", f"{len(recent)} retrainings in 24 hours used up the budget, to {until}")


def _wait_for_labels(situation: Situation, rules: settings.RetrainSettings) -> Decision | None:
    if situation.labels >= rules.min_labels:
        return None
    have, need = situation.labels, rules.min_labels
    return _hold("labels", f"{have} labelled production rows are there, {need} are needed")


def _answer(
    verdict: records.Verdict, situation: Situation, rules: settings.RetrainSettings
) -> Decision:
    if verdict.cause == "world":
        reason = "the world changed: the dense parent is trained again and cut as before"
        return Decision(action="start", rule="answer", reason=reason)
    factor = rules.milder ** (situation.attempts + 1)
    reason = f"the pruning went too far: the same parent is cut {factor:.3g} times as much"
    return Decision(
        action="start", rule="answer", reason=reason, keep_parent=True, amount_factor=factor
    )


def _hold(rule: Rule, reason: str) -> Decision:
    return Decision(action="held", rule=rule, reason=reason)


def _ignore(rule: Rule, reason: str) -> Decision:
    return Decision(action="ignore", rule=rule, reason=reason)
