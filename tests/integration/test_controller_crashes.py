"""Killed between any two of its writes, the controller converges: nothing twice, nothing half."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from coppice import records, routing, settings
from coppice.eventlog.sqlite import SqliteLog
from coppice.testing import ManualClock, MemoryRegistry
from deploy.backends.local import LocalBackend
from deploy.loop import Controller
from deploy.recorder import Recorder
from tests.support import artifacts, rollouts
from tests.support.rollouts import MODEL

STEPS = {"steps": [0.2, 0.6], "step_seconds": 0.0, "step_requests": 0, "watch_seconds": 60.0}


class Killed(BaseException):
    """Like kill -9, nobody catches it."""


@dataclasses.dataclass
class Fuse:
    """Blows at one of the controller's writes, counted over all stores."""

    blows_at: int
    before: bool
    writes: int = 0

    def around(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def fused(*arguments: Any) -> Any:
            self.writes += 1
            if self.writes == self.blows_at and self.before:
                raise Killed
            result = write(*arguments)
            if self.writes == self.blows_at:
                raise Killed
            return result

        return fused


@dataclasses.dataclass
class Project:
    tree: settings.Settings
    registry: MemoryRegistry
    clock: ManualClock
    first: str
    second: str

    def controller(self, fuse: Fuse) -> Controller:
        """A fresh process: nothing but the stores is left of the one before."""
        log = SqliteLog(self.tree.log_path)
        registry = _Fused(self.registry, point=fuse.around(self.registry.point))
        routes = LocalBackend(self.tree.routing_path)
        backend = _Fused(routes, apply=fuse.around(routes.apply), abort=fuse.around(routes.abort))
        fused_log: Any = _Fused(log, append=fuse.around(log.append))
        recorder = Recorder(MODEL)
        return Controller(fused_log, registry, backend, self.tree, self.clock, recorder)

    def tell(self, found: Sequence[records.Record]) -> None:
        now = self.clock.now()
        log = SqliteLog(self.tree.log_path)
        log.append([records.seal(record, source="test", now=now) for record in found])
        log.close()

    def steps(self) -> list[tuple[str, str, float]]:
        log = SqliteLog(self.tree.log_path)
        found = [records.unseal(event) for event in log.find(MODEL, records.Rollout)]
        log.close()
        return [
            (record.outcome, record.stage, record.weight)
            for record in found
            if isinstance(record, records.Rollout)
        ]


class _Fused:
    """A store, some of whose methods were replaced."""

    def __init__(self, store: Any, **methods: Any) -> None:
        self._store = store
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._store, name)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    registry = MemoryRegistry(tmp_path / "registry")
    artifacts.linear_classifier(tmp_path / "1", name=MODEL, accepted=0.9)
    artifacts.linear_classifier(tmp_path / "2", name=MODEL, accepted=0.8)
    tree = settings.from_tree({"project": {"name": MODEL}, "rollout": STEPS}, root=tmp_path)
    first, second = (registry.add(tmp_path / name) for name in ("1", "2"))
    tree.home.mkdir()
    return Project(tree, registry, ManualClock(), first, second)


def live_through(project: Project, news: Sequence[Sequence[records.Record]], fuse: Fuse) -> None:
    """Tell the news one by one; after a kill a new controller takes over."""
    controller = project.controller(fuse)
    for found in news:
        project.tell(found)
        moving = True
        while moving:
            try:
                moving = controller.turn() is not None
            except Killed:
                controller = project.controller(fuse)


# A promotion is nine writes or more: three for each of champion, shadow, two canary steps, watch.
KILLS = [(write, before) for write in range(1, 16) for before in (True, False)]


@pytest.mark.parametrize(("write", "before"), KILLS)
def test_a_promotion_survives_a_kill_at_every_write(
    project: Project, write: int, *, before: bool
) -> None:
    fuse = Fuse(write, before)
    news: list[list[records.Record]] = [
        [rollouts.candidate(project.first)],
        [rollouts.candidate(project.second)],
        [rollouts.verdict("promote", project.second)],
    ]
    live_through(project, news, fuse)
    assert project.steps() == [
        ("promoted", "idle", 0.0),
        ("started", "shadow", 0.0),
        ("advanced", "canary", 0.2),
        ("advanced", "canary", 0.6),
        ("promoted", "watch", 0.0),
    ]
    table = routing.load(project.tree.routing_path)
    assert table is not None
    # One generation for each step, however often a step was begun.
    assert (table.generation, table.champion, table.previous) == (5, project.second, project.first)
    aliases = {"champion": project.second, "previous": project.first}
    assert project.registry.aliases(MODEL) == aliases


@pytest.mark.parametrize(("write", "before"), [kill for kill in KILLS if kill[0] <= 12])
def test_a_rollback_after_promotion_survives_a_kill_at_every_write(
    project: Project, write: int, *, before: bool
) -> None:
    fuse = Fuse(write, before)
    news: list[list[records.Record]] = [
        [rollouts.candidate(project.first)],
        [rollouts.candidate(project.second)],
        [rollouts.command("promote")],
        [rollouts.decay(project.second)],
    ]
    live_through(project, news, fuse)
    assert [step[0] for step in project.steps()] == [
        "promoted",
        "started",
        "promoted",
        "rolled-back",
    ]
    table = routing.load(project.tree.routing_path)
    assert table is not None
    assert (table.generation, table.champion, table.previous) == (4, project.first, None)
    assert project.registry.aliases(MODEL) == {"champion": project.first}


@pytest.mark.parametrize(("write", "before"), [kill for kill in KILLS if kill[0] <= 9])
def test_a_rollback_in_shadow_survives_a_kill_at_every_write(
    project: Project, write: int, *, before: bool
) -> None:
    fuse = Fuse(write, before)
    news: list[list[records.Record]] = [
        [rollouts.candidate(project.first)],
        [rollouts.candidate(project.second)],
        [rollouts.verdict("rollback", project.second)],
    ]
    live_through(project, news, fuse)
    assert [step[0] for step in project.steps()] == ["promoted", "started", "rolled-back"]
    table = routing.load(project.tree.routing_path)
    assert table is not None
    assert (table.generation, table.champion, table.candidate) == (3, project.first, None)
    assert project.registry.aliases(MODEL) == {"champion": project.first}


def test_a_verdict_that_turns_between_a_kill_and_the_restart_is_obeyed(project: Project) -> None:
    # Write 13 is the routing table of the promotion: the traffic moved, the state did not.
    controller = project.controller(Fuse(13, before=False))
    project.tell([rollouts.candidate(project.first)])
    controller.turn()
    project.tell([rollouts.candidate(project.second)])
    controller.turn()
    project.tell([rollouts.verdict("promote", project.second)])
    controller.turn()
    controller.turn()
    with pytest.raises(Killed):
        controller.turn()
    project.tell([rollouts.verdict("rollback", project.second)])
    restarted = project.controller(Fuse(0, before=False))
    restarted.turn()
    table = routing.load(project.tree.routing_path)
    assert table is not None
    assert (table.champion, table.candidate, table.generation) == (project.first, None, 6)
    assert project.registry.aliases(MODEL) == {"champion": project.first}
    assert restarted.turn() is None
