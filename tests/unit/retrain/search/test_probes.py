from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrain import proving, recovery, store, train
from retrain.search import forecast, probes, subject
from tests.support import searching


def after(loss: float, left: float = 1.0) -> forecast.Forecast:
    return forecast.Forecast(loss=loss, low=loss, high=loss, left=left, control_gain=0.0)


def probe(**figures: Any) -> probes.Probe:
    told: dict[str, Any] = {
        "score": 0.90,
        "control": 0.91,
        "drop": 0.01,
        "low": 0.0,
        "high": 0.02,
        "expected": after(0.01),
        "worst_slice": "pen=ink",
        "slice_drop": 0.08,
        "slice_low": 0.02,
        "surgery": "",
    }
    return probes.Probe(**{**told, **figures})


BUDGET = probes.Budget(drop=0.01, slice_drop=0.05)


def test_a_budget_is_met_by_a_loss_that_is_just_as_large() -> None:
    assert BUDGET.met_by(probe(expected=after(0.01), slice_low=0.05))


def test_a_budget_is_missed_by_the_expected_drop_however_unsure_it_is() -> None:
    assert not BUDGET.met_by(probe(drop=0.02, expected=after(0.011), low=-0.5))


def test_what_the_whole_recovery_gives_back_does_not_count() -> None:
    assert BUDGET.met_by(probe(drop=0.04, expected=after(0.01)))


def test_a_slice_counts_by_what_is_shown_and_not_by_what_is_observed() -> None:
    assert BUDGET.met_by(probe(slice_drop=0.2, slice_low=0.04))
    assert not BUDGET.met_by(probe(slice_drop=0.2, slice_low=0.06))


def test_of_a_slice_the_same_share_is_expected_to_be_left_as_of_the_whole() -> None:
    # A quarter of 0.16 is 0.04.
    assert BUDGET.met_by(probe(drop=0.04, expected=after(0.01, 0.25), slice_low=0.16))
    assert not BUDGET.met_by(probe(drop=0.04, expected=after(0.01, 0.25), slice_low=0.24))


def test_the_excess_is_that_of_the_worse_of_the_two() -> None:
    # 0.03 - 0.01 = 0.02 overall; 0.08 - 0.05 = 0.03 on the slice.
    assert BUDGET.excess(probe(expected=after(0.03), slice_low=0.08)) == pytest.approx(0.03)
    assert BUDGET.excess(probe(expected=after(0.0), slice_low=0.0)) == pytest.approx(-0.01)


def test_a_race_takes_a_quarter_of_the_rows_and_as_many_passes() -> None:
    assert probes.Effort(epochs=2, rows=400).quarter() == probes.Effort(epochs=2, rows=100)
    # A step of training needs two rows.
    assert probes.Effort(epochs=2, rows=5).quarter() == probes.Effort(epochs=2, rows=2)


def prober(folder: Path) -> probes.Prober:
    of = searching.subject_of(folder)
    own = searching.own_of(folder, searching.build_deep)
    return probes.Prober(
        of,
        section=own.settings.train,
        rules=proving.rules(own, of.data.classes),
        effort=probes.Effort(epochs=1, rows=200),
        findings=store.Store(folder / "probes"),
    )


DEEP, MILD = subject.Shape(2, {"0": 8}), subject.Shape(0, {"2.inner.0": 8})


def test_a_race_is_remembered_and_its_cut_is_used_by_the_probe(tmp_path: Path) -> None:
    first = prober(tmp_path)
    best = first.race([DEEP, MILD], recovery.silent)
    assert best in (DEEP, MILD)
    raced = searching.findings(tmp_path / "probes")
    assert len(raced) == 2
    found = first.probe(best, recovery.silent)
    # The probe and the null control; the race is not run again.
    after = searching.findings(tmp_path / "probes")
    assert raced.items() <= after.items()
    assert len(after) == 4
    second = prober(tmp_path)
    assert second.race([DEEP, MILD], recovery.silent) == best
    assert second.probe(best, recovery.silent) == found
    assert searching.findings(tmp_path / "probes") == after


def test_the_model_of_a_probe_scores_as_the_probe_says(tmp_path: Path) -> None:
    first = prober(tmp_path)
    found = first.probe(DEEP, recovery.silent)
    scored = train.score(first.model(DEEP), searching.split(200), "multiclass")
    assert scored == pytest.approx(found.score)


def test_a_single_contender_wins_without_a_race(tmp_path: Path) -> None:
    assert prober(tmp_path).race([DEEP], recovery.silent) == DEEP
    assert searching.findings(tmp_path / "probes") == {}


def test_the_loss_of_the_end_is_forecast_from_the_probe(tmp_path: Path) -> None:
    found = prober(tmp_path).probe(DEEP, recovery.silent)
    # Ten passes over 400 rows after one over 200.
    lost = forecast.Loss(found.drop, found.low, found.high)
    assert found.expected == forecast.after(lost, found.control, 20.0)
