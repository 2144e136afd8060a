"""The order of the checks: each runs if what it needs is there, and no failure hides the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from coppice import errors, project, routing, settings
from coppice_cli import compose
from coppice_cli.doctor import finding, joining, machine, projects, stores
from coppice_cli.doctor.finding import Finding


def examine(folder: Path) -> Iterator[Finding]:
    """Check a project and this machine, and yield findings as they are made."""
    yield from machine.libraries(machine.required())
    yield from machine.packages()
    yield from machine.variables()
    try:
        tree = settings.load(folder)
    except errors.SettingsError as problem:
        yield projects.from_error("settings", problem)
        return
    yield finding.ok("settings", f"{settings.FILE} is valid; model {tree.project.name!r}")
    yield from machine.secret(tree)
    yield from _guarded("ports", lambda: machine.ports(tree))
    yield from _guarded("disk", lambda: machine.disk(tree.home))
    yield from _stores(tree)
    yield from _project(tree)


def _stores(tree: settings.Settings) -> Iterator[Finding]:
    yield from _guarded("event log", lambda: stores.event_log(tree))
    yield from _guarded("kafka", lambda: joining.kafka(tree))
    yield from _guarded("registry", lambda: _versions(tree))
    yield from _guarded("routing", lambda: _routes(tree))


def _versions(tree: settings.Settings) -> Iterator[Finding]:
    return stores.versions(compose.registry_of(tree), tree.project.name)


def _routes(tree: settings.Settings) -> Iterator[Finding]:
    registry, name = compose.registry_of(tree), tree.project.name
    table = routing.load(tree.routing_path)
    return stores.routes(table, name, registry.aliases(name), registry.tags(name))


def _project(tree: settings.Settings) -> Iterator[Finding]:
    try:
        loaded = project.load(tree)
    except errors.ProjectError as problem:
        yield projects.from_error("project", problem)
        return
    yield projects.module(loaded)
    try:
        data = project.load_data(loaded)
    except errors.ProjectError as problem:
        yield projects.from_error("data", problem)
        return
    yield from projects.split_sizes(data)
    yield from projects.quality(data)
    yield from projects.slices(data, tree.gates.min_slice_rows)
    yield from _guarded("model", lambda: projects.model(loaded, data))
    yield from _guarded("checkpoint", lambda: projects.checkpoint(loaded))


def _guarded(check: str, findings: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Run a check; an error of ours says what to do, so it is a finding like any other."""
    try:
        yield from findings()
    except errors.CoppiceError as problem:
        yield projects.from_error(check, problem)
    except OSError as problem:
        remedy = "check the rights of that file and of its folder, and who runs Coppice"
        yield finding.problem(check, str(problem), remedy)
