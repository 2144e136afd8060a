"""Checks of the three stores: event log, registry, routing table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from coppice import artifact, errors, routing, settings
from coppice.registry import base as registry_base
from coppice_cli.doctor import finding, joining
from coppice_cli.doctor.finding import Finding


def event_log(tree: settings.Settings) -> Iterator[Finding]:
    """Read each log file whole and report what is wrong with it."""
    if tree.events.backend == "memory":
        remedy = "set events.backend to sqlite outside tests"
        yield finding.warning("event log", "it is kept in memory and lost at exit", remedy)
        return
    for path in dict.fromkeys((tree.log_path, tree.outbox_path)):
        yield from _file(path, tree)


def _file(path: Path, tree: settings.Settings) -> Iterator[Finding]:
    from coppice.eventlog.sqlite import SqliteLog

    if not path.exists():
        yield finding.ok("event log", f"no {path.name} yet; it is made by the first event")
        return
    log = SqliteLog(path, durability=tree.events.durability)
    try:
        wrong = log.integrity()
        newest = [] if wrong else log.newest(1)
    finally:
        log.close()
    for text in wrong:
        yield finding.problem("event log", text)
    if not wrong:
        size = path.stat().st_size / 2**20
        yield finding.ok("event log", f"{path.name}: intact, {size:.1f} MiB")
        yield from joining.clock(newest[0].time if newest else None, time.time())


def versions(registry: registry_base.Registry, name: str) -> Iterator[Finding]:
    """Verify every digest of every version."""
    tags = registry.tags(name)
    for tag in tags:
        try:
            artifact.verify(registry.path(tag), tag)
        except errors.ArtifactError as problem:
            remedy = "restore it from a backup, or prune again"
            yield finding.problem("registry", f"{tag}: {problem}", remedy)
    if not tags:
        yield finding.ok("registry", "no versions yet; `coppice prune` makes the first")
    else:
        yield finding.ok("registry", f"{len(tags)} versions, every digest checked")


def routes(
    table: routing.RoutingTable | None,
    model: str,
    aliases: Mapping[registry_base.Alias, str],
    tags: list[str],
) -> Iterator[Finding]:
    """Check the routing table against the registry: what it routes to must be there."""
    if table is None:
        yield finding.ok("routing", "no routing table yet; the first accepted candidate makes it")
        return
    if table.model != model:
        text = f"the table routes {table.model!r}, but this project is {model!r}"
        yield finding.problem("routing", text, "set project.name back, or store.home elsewhere")
    parts = {"champion": table.champion, "candidate": table.candidate, "previous": table.previous}
    for part, tag in parts.items():
        if tag is not None and tag not in tags:
            text = f"the {part} {tag} is not in the registry"
            yield finding.problem(
                "routing", text, "restore that version, or `coppice rollout abort`"
            )
    if aliases.get("champion") not in {None, table.champion}:
        text = f"alias champion is {aliases['champion']}, but {table.champion} serves"
        yield finding.warning("routing", text, "start `coppice rollout run`: it sets the alias")
    yield finding.ok("routing", f"generation {table.generation}, champion {table.champion}")
