from __future__ import annotations

import pytest

from coppice.testing import ManualClock
from retrain import candidate
from retrain.pruning import recipe


def test_phases_are_told_from_nothing_to_done_and_timed() -> None:
    told: list[tuple[str, float]] = []
    clock = ManualClock()
    phases = candidate.Phases(lambda phase, share: told.append((phase, share)), clock)
    with phases.phase("train") as progress:
        clock.advance(1.5)
        progress(0.5)
        clock.advance(1.0)
    with phases.phase("pack"):
        clock.advance(0.25)
    assert told == [("train", 0.0), ("train", 0.5), ("train", 1.0), ("pack", 0.0), ("pack", 1.0)]
    assert phases.seconds == {"train": 2.5, "pack": 0.25}


def test_a_phase_that_raises_is_not_told_as_done() -> None:
    told: list[float] = []
    phases = candidate.Phases(lambda _, share: told.append(share), ManualClock())
    with pytest.raises(ValueError, match="broken"), phases.phase("train"):
        raise ValueError("broken")
    assert told == [0.0]
    assert phases.seconds == {}


def test_a_request_by_hand_starts_from_the_usual_parent_and_asks_for_nothing_special() -> None:
    request = candidate.CandidateRequest(recipe=recipe.Recipe())
    assert (request.cause, request.force, request.refit) == ("manual", False, False)
    assert request.parent is None
    assert request.production is None
    assert request.recover_on is None


def test_without_a_listener_progress_goes_nowhere() -> None:
    with candidate.Phases(candidate.silent, ManualClock()).phase("train") as progress:
        progress(0.5)
