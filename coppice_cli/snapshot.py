"""Everything at a glance, as one value: gathered from the stores, and from the monitor if it runs.

Each part comes from where it is written, so the glance also works when nothing runs: versions from
the registry, routes from the routing table, the rest from the newest events in the log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from coppice import artifact, errors, records, routing, settings
from coppice.registry import base as registry_base
from coppice_cli import client, steering, supervise
from monitoring import status as monitored

if TYPE_CHECKING:
    from coppice_cli.compose import Log

Part: TypeAlias = Literal["champion", "candidate", "previous", "parent"]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version and how it does."""

    tag: str
    part: Part
    lane: str
    """Where it answers: `stable`, `canary`, `shadow`, or nowhere; and with what share."""
    accepted: float | None = None
    """Mean score on the holdout at acceptance."""
    live: monitored.Score | None = None
    """Mean score over recent labelled rows; `None` before the first label."""
    slices: dict[str, monitored.Score] = {}
    parent_agreement: float | None = None


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the loop."""

    name: str
    phase: str
    pid: int | None = None
    restarts: int = 0


class Dated(msgspec.Struct, frozen=True):
    """A record and when it was written, seconds since 1970 UTC."""

    time: float
    record: records.Verdict | records.Candidate | records.Retraining


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How a project is doing at one moment."""

    model: str
    at: float
    source: Literal["monitor", "log"]
    """Where live figures come from: the running monitor, or what it last wrote."""
    rollout: records.Rollout | None = None
    generation: int = 0
    versions: tuple[Version, ...] = ()
    champion_verdict: Dated | None = None
    candidate_verdict: Dated | None = None
    evidence: dict[str, float] = {}
    """Natural logarithms; see `monitoring.status.Status`."""
    evidence_needed: float
    """The logarithm at which evidence decides: ln(1 / alpha)."""
    drift: float | None = None
    """Largest score of the last window over its threshold; above 1 alarms."""
    wanted: dict[str, int] = {}
    last_candidate: Dated | None = None
    last_retraining: Dated | None = None
    processes: tuple[Process, ...] = ()


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What the monitor measured, from itself or from the log."""

    source: Literal["monitor", "log"]
    scores: dict[str, dict[str, monitored.Score]] = {}
    """By version, by slice."""
    agreement: dict[str, float] = {}
    evidence: dict[str, float] = {}
    drift: float | None = None
    wanted: dict[str, int] = {}


def take(
    tree: settings.Settings, log: Log, registry: registry_base.Registry, *, now: float
) -> Snapshot:
    """Gather a snapshot."""
    model = tree.project.name
    table = routing.load(tree.routing_path)
    parts = _parts(table, registry.aliases(model))
    live = from_monitor(tree) or from_log(log, parts)
    return Snapshot(
        model=model,
        at=now,
        source=live.source,
        rollout=steering.state_of(log, model),
        generation=table.generation if table else 0,
        versions=tuple(_version(part, tag, table, registry, live) for part, tag in parts.items()),
        champion_verdict=_verdict(log, parts.get("champion"), "champion"),
        candidate_verdict=_verdict(log, parts.get("candidate"), "candidate"),
        evidence=live.evidence,
        evidence_needed=-math.log(tree.evidence.alpha),
        drift=live.drift,
        wanted=live.wanted,
        last_candidate=_latest(log, model, records.Candidate),
        last_retraining=_latest(log, model, records.Retraining),
        processes=_processes(tree, monitor_answers=live.source == "monitor"),
    )


def from_monitor(tree: settings.Settings) -> Live | None:
    """Ask the running monitor; `None` where it does not answer or has not looked yet."""
    try:
        answer = client.get(
            f"{client.monitor_url(tree)}/v1/state", {"model": tree.project.name}, whose="monitor"
        )
    except (errors.EnvironmentProblem, errors.RequestError):
        return None
    if answer["state"] is None:
        return None
    seen = msgspec.convert(answer["state"], monitored.Status)
    return Live(
        source="monitor",
        scores={version.version: version.accuracy for version in seen.versions},
        agreement={
            version.version: version.parent_agreement
            for version in seen.versions
            if version.parent_agreement is not None
        },
        evidence=seen.evidence,
        drift=seen.drift.ratio if seen.drift.windows else None,
        wanted=seen.wanted,
    )


def from_log(log: Log, parts: Mapping[Part, str]) -> Live:
    """Read the newest measurement of each kind out of the log."""
    newest: dict[tuple[str, str, str], records.Measurement] = {}
    for tag in parts.values():
        for event in log.find(tag, records.Measurement):
            record = records.unseal(event)
            if isinstance(record, records.Measurement):
                newest[tag, record.name, record.slice] = record
    live: dict[str, dict[str, monitored.Score]] = {}
    for (tag, name, part), found in newest.items():
        if name == "accuracy" and found.low is not None and found.high is not None:
            score = monitored.Score(found.value, found.low, found.high, found.count)
            live.setdefault(tag, {})[part] = score
    named = {name: found.value for (_, name, _), found in newest.items()}
    return Live(
        source="log",
        scores=live,
        agreement={
            tag: found.value
            for (tag, name, _), found in newest.items()
            if name == "parent_agreement"
        },
        evidence={
            name.removeprefix("evidence."): value
            for name, value in named.items()
            if name.startswith("evidence.")
        },
        drift=named.get("drift.ratio"),
    )


def _parts(
    table: routing.RoutingTable | None, aliases: Mapping[registry_base.Alias, str]
) -> dict[Part, str]:
    """Say who plays which part: the routing table first, the aliases where there is none."""
    if table is None:
        order: tuple[Part, ...] = ("champion", "candidate", "previous", "parent")
        return {part: aliases[part] for part in order if part in aliases}
    found: dict[Part, str | None] = {
        "champion": table.champion,
        "candidate": table.candidate,
        "previous": table.previous or aliases.get("previous"),
        "parent": table.parent or aliases.get("parent"),
    }
    return {part: tag for part, tag in found.items() if tag is not None}


def _version(
    part: Part,
    tag: str,
    table: routing.RoutingTable | None,
    registry: registry_base.Registry,
    live: Live,
) -> Version:
    try:
        accepted = artifact.read_manifest(registry.path(tag)).accepted
    except (errors.ArtifactError, errors.UnknownVersion):
        accepted = None
    scores = live.scores.get(tag, {})
    return Version(
        tag=tag,
        part=part,
        lane=_lane(part, table),
        accepted=accepted,
        live=scores.get("all"),
        slices={name: score for name, score in scores.items() if name != "all"},
        parent_agreement=live.agreement.get(tag),
    )


def _lane(part: Part, table: routing.RoutingTable | None) -> str:
    if table is None:
        return ""
    match part:
        case "champion":
            return f"stable {1.0 - table.weight:.0%}"
        case "candidate":
            return f"canary {table.weight:.0%}" if table.weight else f"shadow {table.mirror:.0%}"
        case "previous":
            return "ready" if table.previous else ""
        case "parent":
            return f"shadow {table.parent_mirror:.0%}" if table.parent_mirror else ""


def _verdict(log: Log, tag: str | None, scope: str) -> Dated | None:
    if tag is None:
        return None
    for event in reversed(log.find(tag, records.Verdict)):
        record = records.unseal(event)
        if isinstance(record, records.Verdict) and record.scope == scope:
            return Dated(event.time, record)
    return None


def _latest(
    log: Log, model: str, kind: type[records.Candidate | records.Retraining]
) -> Dated | None:
    event = log.latest(model, kind)
    if event is None:
        return None
    record = records.unseal(event)
    return Dated(event.time, record) if isinstance(record, kind) else None


def _processes(tree: settings.Settings, *, monitor_answers: bool) -> tuple[Process, ...]:
    """List the processes of the running `coppice up`, or else who answers on the two ports."""
    running = supervise.read_status(tree.home)
    if running is not None:
        return tuple(
            Process(name=child.name, phase=child.phase, pid=child.pid, restarts=child.restarts)
            for child in running.children
        )
    # Not its health page: that of some other server would look the same.
    served = client.answers(f"{client.server_url(tree)}/v2/models/{tree.project.name}")
    doors = {"serve": served, "monitor": monitor_answers}
    return tuple(
        Process(name=name, phase="answers" if answers else "does not answer")
        for name, answers in doors.items()
    )
