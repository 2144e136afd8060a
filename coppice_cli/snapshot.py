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
from coppice_cli import client, figures
from coppice_cli.supervise import lock
from deploy import orders

if TYPE_CHECKING:
    from coppice.eventlog.base import IndexedLog

Part: TypeAlias = Literal["champion", "candidate", "previous", "parent"]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version and how it does."""

    tag: str
    part: Part
    lane: str
    """Where it answers: `stable`, `canary`, `shadow`, or nowhere; and with what share."""
    accepted: float | None = None
    """Mean score on the holdout at acceptance."""
    live: figures.Score | None = None
    """Mean score over recent labelled rows; `None` before the first label."""
    slices: dict[str, figures.Score] = {}
    parent_agreement: float | None = None
    parent_agreement_fell: bool = False
    measures: dict[str, figures.Figure] = {}
    label_delay: figures.Delay | None = None


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the loop."""

    name: str
    phase: str
    pid: int | None = None
    restarts: int = 0


class Dated(msgspec.Struct, frozen=True):
    """A record and when it was written, seconds since 1970 UTC."""

    time: float
    record: records.Candidate | records.Retraining


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How a project is doing at one moment."""

    model: str
    at: float
    source: Literal["monitor", "log"]
    """Where live figures come from: the running monitor, or what it last wrote."""
    rollout: records.Rollout | None = None
    generation: int = 0
    versions: tuple[Version, ...] = ()
    verdicts: dict[str, figures.Told] = {}
    """By scope: `champion`, `candidate`."""
    evidence: dict[str, float] = {}
    """Natural logarithms: `promote`, `rollback` and `failures` about the candidate, `decay` about
    the champion."""
    evidence_needed: float
    """The logarithm at which evidence decides: ln(1 / alpha)."""
    drift: float | None = None
    """Largest score of the last window over its threshold; above 1 alarms."""
    drift_kinds: dict[str, float] = {}
    """The same by kind of window: answers, embedding, inputs, labels, and slices by name."""
    estimate: figures.SeenEstimate | None = None
    """How the champion should score where no label has come."""
    reports: tuple[str, ...] = ()
    """Names of the drift reports, the newest first."""
    wanted: dict[str, int] = {}
    last_candidate: Dated | None = None
    last_retraining: Dated | None = None
    processes: tuple[Process, ...] = ()
    unready: str = ""
    """Why the server that runs does not answer clients; empty where it does, or none runs."""


def take(
    tree: settings.Settings, log: IndexedLog, registry: registry_base.Registry, *, now: float
) -> Snapshot:
    """Gather a snapshot."""
    model = tree.project.name
    table = routing.load(tree.routing_path)
    parts = _parts(table, registry.aliases(model))
    measured = figures.from_monitor(tree) or figures.from_log(
        log, champion=parts.get("champion"), candidate=parts.get("candidate")
    )
    return Snapshot(
        model=model,
        at=now,
        source=measured.source,
        rollout=orders.state_of(log, model),
        generation=table.generation if table else 0,
        versions=tuple(
            _version(part, tag, table, registry, measured) for part, tag in parts.items()
        ),
        verdicts=measured.verdicts,
        evidence=measured.evidence,
        evidence_needed=-math.log(tree.evidence.alpha),
        drift=measured.drift,
        drift_kinds=measured.drift_kinds,
        estimate=measured.estimate,
        reports=measured.reports,
        wanted=measured.wanted,
        last_candidate=_latest(log, model, records.Candidate),
        last_retraining=_latest(log, model, records.Retraining),
        processes=_processes(tree, monitor_answers=measured.source == "monitor"),
        unready=_unready(tree) if table is not None else "",
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
    measured: figures.Live,
) -> Version:
    try:
        accepted = artifact.read_manifest(registry.path(tag)).accepted
    except (errors.ArtifactError, errors.UnknownVersion):
        accepted = None
    scores = measured.scores.get(tag, {})
    return Version(
        tag=tag,
        part=part,
        lane=_lane(part, table),
        accepted=accepted,
        live=scores.get("all"),
        slices={name: score for name, score in scores.items() if name != "all"},
        parent_agreement=measured.agreement.get(tag),
        parent_agreement_fell=tag in measured.agreement_fell,
        measures=measured.measures.get(tag, {}),
        label_delay=measured.delays.get(tag),
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


def _latest(
    log: IndexedLog, model: str, kind: type[records.Candidate | records.Retraining]
) -> Dated | None:
    event = log.latest(model, kind)
    if event is None:
        return None
    record = records.unseal(event)
    return Dated(event.time, record) if isinstance(record, kind) else None


def _unready(tree: settings.Settings) -> str:
    """Ask the server itself: that its process runs does not mean that it has a version to ask."""
    return client.complaint(f"{client.server_url(tree)}/v2/models/{tree.project.name}/ready")


def _processes(tree: settings.Settings, *, monitor_answers: bool) -> tuple[Process, ...]:
    """List the processes of the running `coppice up`, or else who answers on the two ports."""
    running = lock.read_status(tree.home)
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
