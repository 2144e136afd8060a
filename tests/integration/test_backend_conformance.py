"""What every backend must do, whichever tool moves the weights."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from coppice import errors
from deploy.backends.base import Backend
from deploy.backends.local import LocalBackend
from deploy.backends.memory import MemoryBackend
from tests.support import rollouts
from tests.support.rollouts import B

WRITERS = 8


@pytest.fixture(params=["memory", "local"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    made: dict[str, Backend] = {
        "memory": MemoryBackend(),
        "local": LocalBackend(tmp_path / "home" / "routing.json"),
    }
    return made[request.param]


CANARY = rollouts.table(1, candidate=B, weight=0.25, mirror=1.0, parent="tiny:p", previous="tiny:q")


def test_at_first_there_is_no_table(backend: Backend) -> None:
    assert backend.observe().table is None
    assert backend.observe().generation == 0


def test_what_was_applied_is_observed(backend: Backend) -> None:
    backend.apply(CANARY)
    assert backend.observe().table == CANARY


def test_a_newer_table_replaces_an_older_one(backend: Backend) -> None:
    backend.apply(rollouts.table(1))
    backend.apply(rollouts.table(2, candidate=B))
    assert backend.observe().generation == 2


@pytest.mark.parametrize("generation", [3, 2, 1])
def test_a_table_that_is_not_newer_is_refused(backend: Backend, generation: int) -> None:
    backend.apply(rollouts.table(3))
    with pytest.raises(errors.RolloutError, match="generation 3"):
        backend.apply(rollouts.table(generation, candidate=B))
    assert backend.observe().table == rollouts.table(3)


def test_an_abort_leaves_the_champion_alone(backend: Backend) -> None:
    backend.apply(CANARY)
    state = backend.abort("it fails")
    expected = msgspec.structs.replace(CANARY, generation=2, candidate=None, weight=0.0, mirror=0.0)
    assert state.table == expected
    assert backend.observe() == state


def test_an_abort_without_a_candidate_changes_nothing(backend: Backend) -> None:
    backend.apply(rollouts.table(1))
    assert backend.abort("again").table == rollouts.table(1)


def test_an_abort_without_a_table_changes_nothing(backend: Backend) -> None:
    assert backend.abort("too early").table is None


def test_of_several_writers_one_wins_each_generation(backend: Backend) -> None:
    won: list[int] = []
    threads = [threading.Thread(target=_try_to_apply, args=(backend, won)) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


def _try_to_apply(backend: Backend, won: list[int]) -> None:
    try:
        backend.apply(rollouts.table(1))
    except errors.RolloutError:
        return
    won.append(1)


def test_it_says_what_it_can_do(backend: Backend) -> None:
    assert backend.supports() <= {"weights", "mirror"}
