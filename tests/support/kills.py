"""A controller that is killed before each of its writes, and what each life leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coppice import records, routing
from tests.support import clusters, kubelet
from tests.support.clusters import Fuse, Kind, Stage, Versions
from tests.support.rollouts import MODEL


class Outcome(NamedTuple):
    """Everything that a rollout leaves behind."""

    steps: list[tuple[Any, ...]]
    table: routing.RoutingTable | None
    template: routing.RoutingTable
    told: set[str]
    aliases: dict[Any, str]
    weights: list[int]

    @classmethod
    def of(cls, stage: Stage) -> Outcome:
        steps = [
            (step.outcome, step.stage, step.champion, step.candidate, step.weight, step.generation)
            for step in stage.events()
        ]
        weights = [
            reference["weight"]
            for route in stage.cluster.store.list(*kubelet.ROUTES[:3])
            for reference in route["spec"]["rules"][0]["backendRefs"]
        ]
        table = stage.backend.observe().table
        return cls(steps, table, stage.template(), stage.told(), stage.aliases(), weights)


def after_every_kill(
    kind: Kind, found: Versions, folder: Path, *news: Callable[[Stage], records.Record]
) -> tuple[Outcome, list[Outcome]]:
    """Live through the news undisturbed, and once with a kill at each of its writes.

    Returns
    -------
    tuple
        The undisturbed outcome, and those that differ from it.
    """
    with clusters.running(kind, found, folder, validated=False) as stage:
        clusters.trial(stage)
        *before, last = [record(stage) for record in news]
        stage.live_through(*before)
        again = stage.keep()

        def burned(fuse: Fuse) -> Outcome:
            """Live through the last of the news, from the same moment in each life."""
            again()
            with pytest.MonkeyPatch.context() as patch:
                fuse.lay(stage, patch)
                stage.live_through(last)
            assert kubelet.unsafe_moments(stage.cluster, MODEL, stage.served_since) == []
            return Outcome.of(stage)

        fuse = Fuse()
        undisturbed = burned(fuse)
        assert fuse.writes > 3, "there is nothing to be killed at"
        fuses = [Fuse(write) for write in range(1, fuse.writes + 1)]
        outcomes = [burned(fuse) for fuse in fuses]
    assert all(fuse.writes >= fuse.blows_at for fuse in fuses)
    return undisturbed, [outcome for outcome in outcomes if outcome != undisturbed]


def until_killed(stage: Stage, turns: int = 20) -> None:
    """Take turns until the fuse blows."""
    for _ in range(turns):
        if not stage.turn():
            return
        stage.tool.reconcile()
    message = "the fuse never blew"
    raise AssertionError(message)
