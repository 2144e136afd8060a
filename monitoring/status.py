"""What the monitor shows of its state: on its pages, in its metrics, as measurements (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from coppice import records
from monitoring import columns, drift, performance, quality, ranges, watch, windows
from monitoring import estimate as estimates
from monitoring import state as states
from monitoring import wanted as labels_wanted

Look: TypeAlias = drift.DriftLook


class Score(msgspec.Struct, frozen=True):
    """Mean score over labelled rows, with its 95% interval."""

    mean: float
    low: float
    high: float
    count: int


class VersionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one version does."""

    version: str
    role: str
    """`champion`, `candidate` or `previous`."""
    accuracy: dict[str, Score]
    """By slice; `all` holds every row."""
    answered: int
    labelled: int
    label_coverage: float
    parent_agreement: float | None
    """Share of recent mirrored rows that the dense parent answers alike; `None` without any."""
    parent_agreement_rows: int
    parent_agreement_low: float = 0.0
    parent_agreement_high: float = 1.0
    """Its 95% interval."""
    parent_agreement_fell: bool = False
    """Whether it is below what it was at first, beyond chance."""
    measures: dict[str, quality.Quality] = {}
    """The task's own measures by slice; slices of few labels are left out."""
    label_delay: quality.Delay | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown of one turn."""

    model: str
    at: float
    """Time of the turn, seconds since 1970 UTC."""
    champion: str | None
    candidate: str | None
    previous: str | None
    versions: tuple[VersionStatus, ...]
    champion_verdict: records.Verdict | None
    candidate_verdict: records.Verdict | None
    evidence: dict[str, float]
    """Logarithms: `promote`, `rollback` and `failures` about the candidate, `decay` about the
    champion."""
    drift_windows: int
    """Full windows of features that the champion's reign has seen."""
    drift: drift.DriftLook | None
    """What the last of them showed."""
    drift_kinds: dict[columns.Kind, columns.KindLook] = {}
    """The same, with answers, embedding and inputs told apart."""
    label_drift: Look | None = None
    """What the last window of labels showed."""
    slice_drift: dict[str, Look] = {}
    """What the last window of each of the largest slices showed."""
    violations: ranges.Violations | None = None
    """Values of the last window that the reference has never seen."""
    new_slices: dict[str, int] = {}
    """Requests by slice, of slices that the champion's reference does not have."""
    estimate: estimates.Estimate | None = None
    """How the champion should score in the last window, where no label has come."""
    reports: tuple[str, ...] = ()
    """Names of the drift reports, the newest first; `GET /reports/NAME` shows one."""
    wanted: dict[str, int]
    """Requests in the label queue, by reason."""
    queue: tuple[labels_wanted.WantedLabel, ...]
    """The first of them, the most decisive first."""
    events: dict[str, int]
    oddities: dict[str, int]


class Judged(msgspec.Struct, frozen=True):
    """What a turn concluded; `None` where there is nobody to judge."""

    champion: records.Verdict | None = None
    candidate: records.Verdict | None = None

    def verdicts(self) -> list[records.Verdict]:
        """Return the verdicts that there are."""
        return [verdict for verdict in (self.champion, self.candidate) if verdict is not None]


def of(
    state: states.State,
    judged: Judged,
    queue: list[labels_wanted.WantedLabel],
    *,
    model: str,
    now: float,
    measures: Mapping[str, dict[str, quality.Quality]] | None = None,
) -> Status:
    """Describe a state and what was concluded from it; `measures` are by version and slice."""
    route = state.route or states.Route("")
    trial = state.current_trial()
    seen = state.reign.drift if state.reign is not None else states.DriftSeen()
    described = Status(
        model=model,
        at=now,
        champion=route.champion or None,
        candidate=route.candidate,
        previous=route.previous,
        versions=_versions(state, route, measures or {}),
        champion_verdict=judged.champion,
        candidate_verdict=judged.candidate,
        evidence=evidence_of(judged),
        drift_windows=seen.windows,
        drift=seen.looks[-1] if seen.looks else None,
        wanted={
            "disagreement": len(trial.pending) if trial is not None else 0,
            "live-accuracy": sum(request.reason == "live-accuracy" for request in queue),
        },
        queue=tuple(queue),
        events=dict(state.events),
        oddities=dict(state.requests.oddities),
    )
    return _with_reign(described, state.reign) if state.reign is not None else described


def _with_reign(described: Status, reign: states.Reign) -> Status:
    """Add what the champion's windows show."""
    beside = reign.beside or watch.Beside()
    return msgspec.structs.replace(
        described,
        drift_kinds=columns.by_kind(described.drift) if described.drift is not None else {},
        label_drift=reign.label_drift.looks[-1] if reign.label_drift.looks else None,
        slice_drift={
            name: kept.drift.looks[-1] for name, kept in reign.slices.items() if kept.drift.looks
        },
        violations=beside.violations,
        new_slices=beside.new_slices,
        estimate=beside.estimate,
    )


def evidence_of(judged: Judged) -> dict[str, float]:
    """Return every logarithm of evidence over all slices."""
    return {
        name: value
        for verdict in judged.verdicts()
        for name, value in verdict.evidence.items()
        if name in {"promote", "rollback", "failures", "decay"}
    }


def measurements(seen: Status) -> list[records.Measurement]:
    """Return what is worth keeping in the log."""
    found = [
        measurement
        for version in seen.versions
        for measurement in _measurements_of(seen.model, version)
    ]
    about = {"decay": seen.champion}
    for name, value in seen.evidence.items():
        version = about.get(name, seen.candidate)
        if version is not None:
            found.append(
                records.Measurement(
                    model=seen.model, version=version, name=f"evidence.{name}", value=value
                )
            )
    if seen.champion is not None:
        found += _window_measurements(seen, seen.champion)
    return found


def _window_measurements(seen: Status, version: str) -> list[records.Measurement]:
    """Return what the champion's last windows show."""
    looks = {"drift.ratio": seen.drift, "drift.labels": seen.label_drift}
    found = [
        records.Measurement(
            model=seen.model, version=version, name=name, value=look.ratio or 0.0, count=look.rows
        )
        for name, look in looks.items()
        if look is not None
    ]
    if seen.estimate is not None:
        guess = seen.estimate
        found.append(
            records.Measurement(
                model=seen.model,
                version=version,
                name="estimate.trusted" if guess.trusted else "estimate.untrusted",
                value=guess.mean,
                count=guess.rows,
                low=guess.low,
                high=guess.high,
            )
        )
    return found


def _measurements_of(model: str, version: VersionStatus) -> list[records.Measurement]:
    found = [
        records.Measurement(
            model=model,
            version=version.version,
            name="accuracy",
            value=score.mean,
            slice=name,
            count=score.count,
            low=score.low,
            high=score.high,
        )
        for name, score in version.accuracy.items()
    ]
    plain: Mapping[str, tuple[float | None, int]] = {
        "label_coverage": (version.label_coverage, version.answered),
        "parent_agreement": (version.parent_agreement, version.parent_agreement_rows),
    }
    for name, (value, count) in plain.items():
        if value is not None and count:
            found.append(
                records.Measurement(
                    model=model, version=version.version, name=name, value=value, count=count
                )
            )
    return found


def _versions(
    state: states.State,
    route: states.Route,
    measures: Mapping[str, dict[str, quality.Quality]],
) -> tuple[VersionStatus, ...]:
    roles = {"champion": route.champion, "candidate": route.candidate, "previous": route.previous}
    return tuple(
        _version(state, version, role, measures.get(version, {}))
        for role, version in roles.items()
        if version is not None and version in state.recent
    )


def _version(
    state: states.State, version: str, role: str, measures: dict[str, quality.Quality]
) -> VersionStatus:
    window = state.recent[version]
    accuracy = {}
    for name, scores in window.scores().items():
        live = performance.live_score(scores)
        if live is not None:
            accuracy[name] = Score(*live)
    agreement = state.agreement.get(version) or windows.Agreement(state.window_limit)
    agrees = agreement.recent()
    low, high = agreement.interval()
    return VersionStatus(
        version=version,
        role=role,
        accuracy=accuracy,
        answered=window.answered,
        labelled=window.labelled,
        label_coverage=window.coverage(),
        parent_agreement=sum(agrees) / len(agrees) if agrees else None,
        parent_agreement_rows=len(agrees),
        parent_agreement_low=low,
        parent_agreement_high=high,
        parent_agreement_fell=agreement.fell(),
        measures=measures,
        label_delay=quality.delay(window.recent()),
    )
