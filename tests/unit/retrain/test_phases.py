from __future__ import annotations

import pytest

from coppice.testing import ManualClock
from retrain import phases


def test_phases_are_told_from_nothing_to_done_and_timed() -> None:
    told: list[tuple[str, float]] = []
    clock = ManualClock()
    steps = phases.Phases(lambda phase, share: told.append((phase, share)), clock)
    with steps.phase("train") as progress:
        clock.advance(1.5)
        progress(0.5)
        clock.advance(1.0)
    with steps.phase("pack"):
        clock.advance(0.25)
    assert told == [("train", 0.0), ("train", 0.5), ("train", 1.0), ("pack", 0.0), ("pack", 1.0)]
    assert steps.seconds == {"train": 2.5, "pack": 0.25}


def test_a_phase_that_raises_is_not_told_as_done() -> None:
    told: list[float] = []
    steps = phases.Phases(lambda _, share: told.append(share), ManualClock())
    with pytest.raises(ValueError, match="broken"), steps.phase("train"):
        raise ValueError("broken")
    assert told == [0.0]
    assert steps.seconds == {}


def test_without_a_listener_progress_goes_nowhere() -> None:
    with phases.Phases(phases.silent, ManualClock()).phase("train") as progress:
        progress(0.5)


def test_a_part_is_told_beside_its_phase_and_has_no_time_of_its_own() -> None:
    told: list[tuple[str, float]] = []
    steps = phases.Phases(lambda phase, share: told.append((phase, share)), ManualClock())
    with steps.phase("prune"):
        steps.part("round 2 of 3", 0.5)
    assert told == [("prune", 0.0), ("round 2 of 3", 0.5), ("prune", 1.0)]
    assert set(steps.seconds) == {"prune"}
