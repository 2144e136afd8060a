from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coppice import testing
from retrain.evaluate import energy


def package(root: Path, name: str = "intel-rapl:0", counted: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "energy_uj").write_text(f"{counted}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    return folder


def working(
    folder: Path, clock: testing.ManualClock, *, microjoules: int, wrap: int = 0
) -> Callable[[], None]:
    """Return a run of a quarter of a second that costs so much."""

    def run() -> None:
        clock.advance(0.25)
        counted = int((folder / "energy_uj").read_text()) + microjoules
        (folder / "energy_uj").write_text(str(counted % wrap if wrap else counted))

    return run


def test_the_energy_of_one_run_is_the_mean_of_half_a_second(tmp_path: Path) -> None:
    clock = testing.ManualClock()
    run = working(package(tmp_path), clock, microjoules=3_000_000)
    found = energy.joules(run, energy.counters(tmp_path), timer=clock)
    # Two runs of a quarter of a second each, 3 J each.
    assert found == 3.0


def test_several_packages_are_added_up(tmp_path: Path) -> None:
    clock = testing.ManualClock()
    run = working(package(tmp_path), clock, microjoules=3_000_000)
    idle = package(tmp_path, "intel-rapl:1")
    assert [each.folder for each in energy.counters(tmp_path)] == [tmp_path / "intel-rapl:0", idle]
    assert energy.joules(run, energy.counters(tmp_path), timer=clock) == 3.0


def test_a_counter_that_runs_over_starts_again_at_nought(tmp_path: Path) -> None:
    clock = testing.ManualClock()
    folder = package(tmp_path, counted=262_143_328_850 - 1_000_000)
    run = working(folder, clock, microjoules=3_000_000, wrap=262_143_328_850)
    assert energy.joules(run, energy.counters(tmp_path), timer=clock) == pytest.approx(3.0)


def test_the_parts_of_a_package_are_not_counted_twice(tmp_path: Path) -> None:
    package(tmp_path)
    package(tmp_path, "intel-rapl:0:0")
    assert [each.folder.name for each in energy.counters(tmp_path)] == ["intel-rapl:0"]


def test_a_machine_without_readable_counters_has_none(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    assert energy.counters(tmp_path) == ()
    assert energy.counters(tmp_path / "nowhere") == ()
    assert energy.joules(lambda: None, (), timer=testing.ManualClock()) is None


def test_a_counter_that_vanishes_gives_no_figure(tmp_path: Path) -> None:
    clock, folder = testing.ManualClock(), package(tmp_path)
    counters = energy.counters(tmp_path)

    def run() -> None:
        clock.advance(1.0)
        (folder / "energy_uj").unlink()

    assert energy.joules(run, counters, timer=clock) is None
