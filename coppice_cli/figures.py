"""Live figures: from the running monitor, or the last that it wrote into the event log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from coppice import errors, records
from coppice_cli import client

if TYPE_CHECKING:
    from coppice import settings
    from coppice.eventlog.base import IndexedLog


class Score(msgspec.Struct, frozen=True):
    """Mean score over recent labelled rows, with its 95% interval."""

    mean: float
    low: float
    high: float
    count: int


class Told(msgspec.Struct, frozen=True):
    """A verdict and the time at which it was last known to hold, seconds since 1970 UTC."""

    time: float
    verdict: records.Verdict


class SeenEstimate(msgspec.Struct, frozen=True):
    """How the champion should score where no label has come."""

    mean: float
    expected: float
    trusted: bool


class Figure(msgspec.Struct, frozen=True):
    """A measure with its 95% interval."""

    value: float
    low: float
    high: float


class Measures(msgspec.Struct, frozen=True):
    """The task's own measures, by name."""

    figures: dict[str, Figure] = {}


class Delay(msgspec.Struct, frozen=True):
    """How long labels take, seconds."""

    p50: float
    p90: float


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What the monitor measured, from itself or from the log."""

    source: Literal["monitor", "log"]
    scores: dict[str, dict[str, Score]] = {}
    """By version, by slice."""
    agreement: dict[str, float] = {}
    agreement_fell: tuple[str, ...] = ()
    """Versions with which their dense parent agrees less than at first, beyond chance."""
    measures: dict[str, dict[str, Figure]] = {}
    """By version, over all slices."""
    delays: dict[str, Delay] = {}
    evidence: dict[str, float] = {}
    drift: float | None = None
    drift_kinds: dict[str, float] = {}
    """The same by kind: answers, embedding, inputs, labels, and slices by name."""
    estimate: SeenEstimate | None = None
    reports: tuple[str, ...] = ()
    wanted: dict[str, int] = {}
    verdicts: dict[str, Told] = {}
    """By scope: `champion`, `candidate`."""


class SeenVersion(msgspec.Struct, frozen=True):
    """What is shown of a version in the monitor's `/v1/state`."""

    version: str
    accuracy: dict[str, Score]
    parent_agreement: float | None
    parent_agreement_fell: bool = False
    measures: dict[str, Measures] = {}
    label_delay: Delay | None = None


class SeenKind(msgspec.Struct, frozen=True):
    """The farthest column of a kind, on its way to its threshold."""

    ratio: float


class SeenDrift(msgspec.Struct, frozen=True):
    """What is shown of the last drift window in the monitor's `/v1/state`."""

    ratios: dict[str, float]


class Seen(msgspec.Struct, frozen=True):
    """What is shown of the monitor's `/v1/state`.

    Read by these few names and not by the monitor's own type, whose module brings Evidently along,
    which takes longer to import than everything else here.
    """

    versions: tuple[SeenVersion, ...]
    evidence: dict[str, float]
    drift: SeenDrift | None
    wanted: dict[str, int]
    champion_verdict: records.Verdict | None
    candidate_verdict: records.Verdict | None
    at: float
    drift_kinds: dict[str, SeenKind] = {}
    label_drift: SeenDrift | None = None
    slice_drift: dict[str, SeenDrift] = {}
    estimate: SeenEstimate | None = None
    reports: tuple[str, ...] = ()

    def kinds(self) -> dict[str, float]:
        """Return the farthest ratio of each kind of window, the drifting slices by name."""
        found = {name: kind.ratio for name, kind in self.drift_kinds.items()}
        others = {"labels": self.label_drift}
        others |= {f"slice {name}": look for name, look in self.slice_drift.items()}
        for name, look in others.items():
            if look is not None and look.ratios:
                found[name] = max(look.ratios.values())
        return found


def from_monitor(tree: settings.Settings) -> Live | None:
    """Ask the running monitor; `None` where it does not answer or has not looked yet."""
    try:
        answer = client.get(
            f"{client.monitor_url(tree)}/v1/state", {"model": tree.project.name}, whose="monitor"
        )
    except (errors.EnvironmentProblem, errors.RequestError):
        return None
    seen = msgspec.convert(answer["state"], Seen | None)
    if seen is None:
        return None
    return Live(
        source="monitor",
        scores={version.version: version.accuracy for version in seen.versions},
        agreement={
            version.version: version.parent_agreement
            for version in seen.versions
            if version.parent_agreement is not None
        },
        agreement_fell=tuple(v.version for v in seen.versions if v.parent_agreement_fell),
        measures={
            version.version: version.measures["all"].figures
            for version in seen.versions
            if "all" in version.measures
        },
        delays={
            version.version: version.label_delay
            for version in seen.versions
            if version.label_delay is not None
        },
        evidence=seen.evidence,
        drift=max(seen.drift.ratios.values(), default=None) if seen.drift else None,
        drift_kinds=seen.kinds(),
        estimate=seen.estimate,
        reports=seen.reports,
        wanted=seen.wanted,
        verdicts={
            verdict.scope: Told(seen.at, verdict)
            for verdict in (seen.champion_verdict, seen.candidate_verdict)
            if verdict is not None
        },
    )


def from_log(log: IndexedLog, *, champion: str | None, candidate: str | None) -> Live:
    """Read the newest measurement of each kind out of the log."""
    tags = [tag for tag in (champion, candidate) if tag is not None]
    newest = {tag: _newest(log, tag) for tag in tags}
    about_champion = newest.get(champion or "", {})
    about_candidate = newest.get(candidate or "", {})
    told = {
        "champion": _told(log, champion, "champion"),
        "candidate": _told(log, candidate, "candidate"),
    }
    # A champion was a candidate once, and has old evidence about its own rollout.
    evidence = {name: found for name, found in about_candidate.items() if name in _ABOUT_CANDIDATE}
    evidence |= {name: found for name, found in about_champion.items() if name == _ABOUT_CHAMPION}
    return Live(
        source="log",
        scores={tag: _scores(log, tag) for tag in tags},
        agreement={
            tag: found["parent_agreement"].value
            for tag, found in newest.items()
            if "parent_agreement" in found
        },
        evidence={name.removeprefix("evidence."): found.value for name, found in evidence.items()},
        drift=about_champion["drift.ratio"].value if "drift.ratio" in about_champion else None,
        verdicts={scope: verdict for scope, verdict in told.items() if verdict is not None},
    )


_ABOUT_CHAMPION = "evidence.decay"
_ABOUT_CANDIDATE = frozenset({"evidence.promote", "evidence.rollback", "evidence.failures"})


def _told(log: IndexedLog, tag: str | None, scope: str) -> Told | None:
    for event in reversed(log.find(tag, records.Verdict) if tag else []):
        record = records.unseal(event)
        if isinstance(record, records.Verdict) and record.scope == scope:
            return Told(event.time, record)
    return None


def _measurements(log: IndexedLog, tag: str) -> Iterator[records.Measurement]:
    for event in log.find(tag, records.Measurement):
        record = records.unseal(event)
        if isinstance(record, records.Measurement):
            yield record


def _newest(log: IndexedLog, tag: str) -> dict[str, records.Measurement]:
    """Return a version's newest measurement of each name, over all slices."""
    return {found.name: found for found in _measurements(log, tag) if found.slice == "all"}


def _scores(log: IndexedLog, tag: str) -> dict[str, Score]:
    """Return a version's newest mean score of each slice."""
    return {
        found.slice: Score(found.value, found.low, found.high, found.count)
        for found in _measurements(log, tag)
        if found.name == "accuracy" and found.low is not None and found.high is not None
    }
