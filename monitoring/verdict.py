"""From evidence to verdicts, one sentence each (pure).

The order of the questions is the order of harm: what could hurt is asked first, and only after
that what would be good. Nothing missing is ever taken for good: without pairs, labels or a window
that could be compared the verdict is `undecided` and says what is missing.

How sure a rollback is: a candidate whose mean outcome, slices, failures and slow requests are all
within their margins is rolled back, ever, with a chance of at most alpha for each of the four
families (the slices share one alpha; slow requests are watched only where there is an objective).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coppice import records
from monitoring import diagnosis, drift, evidence, performance


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateCase:
    """All that is known of a candidate on trial."""

    model: str
    version: str
    against: str
    decision: evidence.Decision
    """Of all pairs together."""
    failures: evidence.BernoulliState
    """Of the requests that the candidate was given, mirrored ones too."""
    slow: evidence.BernoulliState | None = None
    """Of those that it answered to clients; `None` where there is no objective."""
    slices: Mapping[str, evidence.Decision] = field(default_factory=dict)
    """By slice, each decided with `Margins.at_place` of its place among them."""
    labels_needed: int | None = None
    """From `monitoring.asking.labels_needed`."""


def candidate_verdict(case: CandidateCase) -> records.Verdict:
    """Judge a candidate: `promote`, `rollback` or `undecided`."""
    if case.failures.exceeded:
        return _judge(case, "rollback", _failing(case.failures))
    if case.slow is not None and case.slow.exceeded:
        return _judge(case, "rollback", f"{_slow(case.slow)}: more than allowed.")
    if case.decision.kind == "rollback":
        return _judge(case, "rollback", _harmful(case.decision))
    harmed = [name for name, decision in case.slices.items() if decision.kind == "rollback"]
    if harmed:
        worst = max(harmed, key=lambda name: case.slices[name].evidence.rollback)
        reason = f"In slice {worst}: {_harmful(case.slices[worst])}"
        return _judge(case, "rollback", reason, where=worst)
    # In shadow no client waits for it, so without a slow request it is not known to be slow.
    quick = case.slow is None or (case.slow.rate or 0.0) <= case.slow.margin
    if case.decision.kind == "promote" and _dependable(case.failures) and quick:
        return _judge(case, "promote", _harmless(case.decision))
    return _judge(case, "undecided", _open(case))


def _dependable(failures: evidence.BernoulliState) -> bool:
    return failures.rate is not None and failures.rate <= failures.margin


def _judge(
    case: CandidateCase, kind: records.VerdictKind, reason: str, *, where: str = "all"
) -> records.Verdict:
    decision = case.slices.get(where, case.decision)
    figures = {
        "promote": decision.evidence.promote,
        "rollback": decision.evidence.rollback,
        "threshold": decision.threshold,
        "failures": case.failures.log_evidence,
    }
    counts = decision.counts._asdict() | {
        "labels": decision.labels,
        "pending": decision.pending,
        "failures": case.failures.failures,
        "trials": case.failures.trials,
    }
    if case.slow is not None:
        figures["slow"] = case.slow.log_evidence
        counts |= {"slow": case.slow.failures, "timed": case.slow.trials}
    return records.Verdict(
        model=case.model,
        version=case.version,
        against=case.against,
        scope="candidate",
        kind=kind,
        reason=reason,
        slice=where,
        evidence=figures if decision.harm is None else figures | {"harm": decision.harm},
        counts=counts if case.labels_needed is None else counts | {"needed": case.labels_needed},
        label_coverage=decision.label_coverage,
    )


def _failing(failures: evidence.BernoulliState) -> str:
    return f"The candidate {_failed(failures)}: more than the {failures.margin:.1%} allowed."


def _failed(failures: evidence.BernoulliState) -> str:
    share = failures.rate or 0.0
    return f"failed {failures.failures} of {failures.trials} requests ({share:.1%})"


def _slow(slow: evidence.BernoulliState) -> str:
    share = slow.rate or 0.0
    return (
        f"The candidate is slow on {slow.failures} of {slow.trials} requests ({share:.1%}), "
        f"where {slow.margin:.1%} may be"
    )


def _harmful(decision: evidence.Decision) -> str:
    return (
        f"The candidate scores {_points(decision.harm)} lower than the champion on "
        f"{_pairs(decision)}: more than the {_points(decision.margins.rollback)} allowed."
    )


def _harmless(decision: evidence.Decision) -> str:
    harm = decision.harm or 0.0
    side = f"{_points(abs(harm))} {'lower' if harm > 0 else 'higher'}"
    return (
        f"The candidate scores {side} than the champion on {_pairs(decision)}: "
        f"it is shown to lose less than {_points(decision.margins.promote)}."
    )


def _open(case: CandidateCase) -> str:
    decision, failures = case.decision, case.failures
    if decision.kind == "promote" and not failures.trials:
        return "The candidate does no harm, but whether it fails requests is not known."
    if decision.kind == "promote" and _dependable(failures) and case.slow is not None:
        return f"{_slow(case.slow)}; it does no harm, and waits."
    if decision.kind == "promote":
        allowed = f"{failures.margin:.1%} are allowed"
        return f"The candidate does no harm, but {_failed(failures)}; it waits, as {allowed}."
    if not sum(decision.counts) + decision.pending:
        return "No request has been answered by both versions yet."
    needed = case.labels_needed
    rest = f"; about {needed} more labels should decide" if needed else ""
    return f"Neither harm nor its absence is shown by {_pairs(decision)}{rest}."


def _pairs(decision: evidence.Decision) -> str:
    counts = decision.counts
    waiting = f", {decision.pending} still without a label" if decision.pending else ""
    return (
        f"{sum(counts) + decision.pending} pairs ({counts.harm} worse, {counts.gain} better, "
        f"{decision.labels} labels{waiting})"
    )


def _points(share: float | None) -> str:
    return f"{100.0 * (share or 0.0):.1f} points"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionCase:
    """All that is known of a champion."""

    model: str
    version: str
    alarm: performance.ECusum
    decaying: bool = False
    """Whether its alarm was on already and has not subsided since."""
    score: performance.LiveScore | None
    """In the window of the most recent labels."""
    min_labels: int
    """Fewest labels from which a champion is called healthy."""
    looks: Sequence[drift.DriftLook] = ()
    """Oldest first; `sustained` of them are enough."""
    sustained: int = 2
    """Windows in a row that must alarm."""
    other_looks: Mapping[str, Sequence[drift.DriftLook]] = field(default_factory=dict)
    """The same of other windows: of the labels, and of slices; their absence says nothing."""
    diagnosis: diagnosis.Diagnosis | None = None
    """`None` while the alarm is off, or before the replay."""
    previous: str | None = None
    """The champion before this one; `None` where there was none."""
    label_coverage: float = 0.0
    """Share of the predictions whose truth is known."""


def sustained(alarms: Sequence[bool | None], needed: int) -> bool:
    """Say whether the last `needed` windows that could be looked at all alarmed.

    A window that could not be compared (`None`) is neither an alarm nor an all-clear.

    >>> sustained([False, True, None, True], needed=2), sustained([True, False, True], needed=2)
    (True, False)
    """
    seen = [alarm for alarm in alarms if alarm is not None][-needed:]
    return len(seen) == needed and all(seen)


def champion_verdict(case: ChampionCase) -> records.Verdict:
    """Judge a champion: `decay`, `drift`, `undecided` or `healthy`."""
    if case.alarm.fired or case.decaying:
        return _decay(case)
    drifting = _drifting(case)
    if drifting:
        return _report(case, "drift", drifting)
    missing = _missing(case)
    if missing:
        return _report(case, "undecided", f"Not known to be healthy: {missing}.")
    return _report(case, "healthy", f"The champion {_scored(case)}; {case.looks[-1].reason}.")


def _drifting(case: ChampionCase) -> str:
    """Say what drifts for so many windows in a row: inputs and answers first, then the rest."""
    for what, looks in {"inputs or answers": case.looks, **case.other_looks}.items():
        if sustained([look.alarmed for look in looks], case.sustained):
            last = next(look for look in reversed(looks) if look.alarmed is not None)
            return f"In {case.sustained} windows in a row {_drifts(what)}: {last.reason}."
    return ""


def _drifts(what: str) -> str:
    return f"{what} drifts" if what.startswith("slice ") else f"{what} drift"


def _decay(case: ChampionCase) -> records.Verdict:
    found = case.diagnosis
    why = "Its cause is not known yet." if found is None else found.reason
    tolerated = f"{case.alarm.floor:.1%}"
    reason = f"The champion decays: it {_scored(case)}, below the {tolerated} tolerated. {why}"
    return _report(case, "decay", reason)


def _missing(case: ChampionCase) -> str:
    labels = case.score.labels if case.score else 0
    if labels < case.min_labels:
        return f"only {labels} of the {case.min_labels} labels that it takes"
    if not case.looks:
        return "no window has been compared with the reference yet"
    return case.looks[-1].reason if case.looks[-1].alarmed is None else ""


def _scored(case: ChampionCase) -> str:
    score = case.score
    if score is None:
        return f"has no live score after {case.alarm.count} labels"
    return (
        f"scores {score.mean:.1%} ({score.low:.1%} to {score.high:.1%}) on the last "
        f"{score.labels} labels, accepted at {case.alarm.accepted:.1%}"
    )


def _report(case: ChampionCase, kind: records.VerdictKind, reason: str) -> records.Verdict:
    found = case.diagnosis if kind == "decay" else None
    figures = {"decay": case.alarm.log_evidence, "floor": case.alarm.floor}
    counts = {"labels": case.alarm.count}
    if case.score is not None:
        figures["score"] = case.score.mean
    if case.looks and case.looks[-1].ratio is not None:
        figures["drift"] = case.looks[-1].ratio or 0.0
    if found is not None:
        figures |= {f"p_{cause}": p_value for cause, p_value in found.p_values.items()}
        figures |= {f"gain_{cause}": gain for cause, gain in found.advantages.items()}
        counts["needed"] = found.labels_needed
    return records.Verdict(
        model=case.model,
        version=case.version,
        against=case.previous if found is not None and found.retreat else None,
        scope="champion",
        kind=kind,
        reason=reason,
        cause=_cause(kind, found),
        evidence=figures,
        counts=counts,
        label_coverage=case.label_coverage,
    )


def _cause(kind: records.VerdictKind, found: diagnosis.Diagnosis | None) -> records.Cause | None:
    if kind != "decay":
        return None
    return "undecided" if found is None else found.cause
