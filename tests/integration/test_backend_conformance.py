"""What every backend must do, whichever tool moves the weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from coppice import errors
from coppice.routing import RoutingTable
from coppice.testing import ManualClock
from deploy.backends.base import Backend
from deploy.backends.local import LocalBackend
from deploy.backends.memory import MemoryBackend
from tests.support import clusters, kube_server, rollouts
from tests.support.rollouts import B

WRITERS = 8
PATIENCE = 8
"""Looks after which pods are ready, at the most."""


class Trial(NamedTuple):
    """A backend, and what lets the world follow it: pods that start, a tool that looks."""

    backend: Backend
    follow: Callable[[], object]

    def apply(self, table: RoutingTable) -> None:
        """Apply a table until it is true."""
        until = [False] * PATIENCE
        while not self.backend.apply(table):
            until.pop()
            self.follow()


@pytest.fixture(params=["memory", "local", *clusters.KINDS])
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    if request.param in clusters.KINDS:
        nothing = clusters.Versions(tmp_path, "", "")
        with clusters.running(request.param, nothing, tmp_path / "project") as stage:
            stage.tool.reconcile()
            yield Trial(stage.backend, stage.tool.reconcile)
    else:
        made: dict[str, Backend] = {
            "memory": MemoryBackend(),
            "local": LocalBackend(tmp_path / "home" / "routing.json"),
        }
        yield Trial(made[request.param], lambda: None)


@pytest.fixture
def backend(trial: Trial) -> Backend:
    return trial.backend


CANARY = rollouts.table(1, candidate=B, weight=0.25, mirror=1.0, parent="tiny:p", previous="tiny:q")


def test_at_first_there_is_no_table(backend: Backend) -> None:
    assert backend.observe().table is None
    assert backend.observe().generation == 0


def test_what_was_applied_is_observed(trial: Trial) -> None:
    trial.apply(CANARY)
    assert trial.backend.observe().table == CANARY


def test_a_newer_table_replaces_an_older_one(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    trial.apply(rollouts.table(2, candidate=B))
    assert trial.backend.observe().generation == 2


@pytest.mark.parametrize("generation", [3, 2, 1])
def test_a_table_that_is_not_newer_is_refused(trial: Trial, generation: int) -> None:
    trial.apply(rollouts.table(3))
    with pytest.raises(errors.RolloutError, match="generation 3"):
        trial.backend.apply(rollouts.table(generation, candidate=B))
    assert trial.backend.observe().table == rollouts.table(3)


def test_an_abort_leaves_the_champion_alone(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    trial.apply(msgspec.structs.replace(CANARY, generation=2))
    state = trial.backend.abort("it fails")
    expected = msgspec.structs.replace(CANARY, generation=3, candidate=None, weight=0.0, mirror=0.0)
    assert state.table == expected
    assert trial.backend.observe() == state


def test_an_abort_twice_is_an_abort_once(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    trial.apply(msgspec.structs.replace(CANARY, generation=2))
    once = trial.backend.abort("it fails")
    assert trial.backend.abort("it fails") == once


def test_an_abort_without_a_candidate_changes_nothing(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    assert trial.backend.abort("again").table == rollouts.table(1)


def test_an_abort_without_a_table_changes_nothing(backend: Backend) -> None:
    assert backend.abort("too early").table is None


def test_a_champion_is_replaced_and_returns(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    trial.apply(msgspec.structs.replace(CANARY, generation=2))
    trial.apply(rollouts.table(3, champion=B))
    trial.apply(rollouts.table(4))
    assert trial.backend.observe().table == rollouts.table(4)


def test_of_several_writers_one_wins_each_generation(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    follow = rollouts.table(2, parent="tiny:p")
    won: list[int] = []
    writers = [
        threading.Thread(target=_try_to_apply, args=(trial.backend, follow, won))
        for _ in range(WRITERS)
    ]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert won == [2]


def _try_to_apply(backend: Backend, table: RoutingTable, won: list[int]) -> None:
    try:
        backend.apply(table)
    except errors.RolloutError:
        return
    won.append(table.generation)


def test_who_asks_first_leads(backend: Backend) -> None:
    assert backend.leads()
    assert backend.leads()


def test_who_has_told_everybody_tells_nobody_again(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    trial.backend.tend()
    assert trial.backend.tend() == 0


def test_it_says_what_it_can_do(backend: Backend) -> None:
    able = backend.supports()
    assert able <= {"weights", "mirror", "outside"}
    # Never two who move the weights.
    assert ("weights" in able) != ("outside" in able)


def test_steering_needs_no_tool(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    trial.backend.steer("pause")
    trial.backend.steer("resume")
    assert trial.backend.observe().table == rollouts.table(1)


def test_waiting_changes_nothing_and_comes_to_an_end(trial: Trial) -> None:
    trial.apply(rollouts.table(1))
    # The first wait begins a watch where there is one, the second has nothing new to see.
    assert kube_server.returns(lambda: trial.backend.wait(0.05, ManualClock()))
    assert kube_server.returns(lambda: trial.backend.wait(0.05, ManualClock()))
    assert trial.backend.observe().table == rollouts.table(1)
