from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors, routing, settings
from coppice.testing import ManualClock
from deploy import backends
from deploy.backends.local import LocalBackend
from tests.support import rollouts


def test_the_table_is_the_file_that_the_router_reads(tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    LocalBackend(path).apply(rollouts.table(1))
    assert routing.load(path) == rollouts.table(1)


def test_an_edit_of_the_file_is_observed(tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    backend = LocalBackend(path)
    backend.apply(rollouts.table(1))
    routing.save(path, rollouts.table(9, champion="tiny:other"))
    assert backend.observe().generation == 9


def test_a_file_that_is_no_table_is_reported_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    path.write_text("{")
    with pytest.raises(errors.EnvironmentProblem, match="remove it or restore it"):
        LocalBackend(path).observe()


def test_two_backends_on_one_file_see_each_other(tmp_path: Path) -> None:
    first, second = (LocalBackend(tmp_path / "routing.json") for _ in range(2))
    first.apply(rollouts.table(1))
    with pytest.raises(errors.RolloutError):
        second.apply(rollouts.table(1))


def test_the_settings_name_the_backend(tmp_path: Path) -> None:
    tree = settings.from_tree({"project": {"name": "tiny"}}, root=tmp_path)
    backend = backends.open_backend(tree)
    backend.apply(rollouts.table(1))
    assert routing.load(tree.routing_path) == rollouts.table(1)


def test_a_wait_is_a_sleep_by_the_clock(tmp_path: Path) -> None:
    clock = ManualClock()
    LocalBackend(tmp_path / "routing.json").wait(2.5, clock)
    assert clock.monotonic() == 2.5
