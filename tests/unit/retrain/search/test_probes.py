from __future__ import annotations

from typing import Any

import pytest

from retrain.search import probes


def probe(**figures: Any) -> probes.Probe:
    told: dict[str, Any] = {
        "score": 0.90,
        "control": 0.91,
        "drop": 0.01,
        "low": 0.0,
        "high": 0.02,
        "worst_slice": "pen=ink",
        "slice_drop": 0.08,
        "slice_low": 0.02,
        "surgery": "",
    }
    return probes.Probe(**{**told, **figures})


BUDGET = probes.Budget(drop=0.01, slice_drop=0.05)


def test_a_budget_is_met_by_a_loss_that_is_just_as_large() -> None:
    assert BUDGET.met_by(probe(drop=0.01, slice_low=0.05))


def test_a_budget_is_missed_by_the_observed_drop_however_unsure_it_is() -> None:
    assert not BUDGET.met_by(probe(drop=0.011, low=-0.5))


def test_a_slice_counts_by_what_is_shown_and_not_by_what_is_observed() -> None:
    assert BUDGET.met_by(probe(slice_drop=0.2, slice_low=0.04))
    assert not BUDGET.met_by(probe(slice_drop=0.2, slice_low=0.06))


def test_the_excess_is_that_of_the_worse_of_the_two() -> None:
    # 0.03 - 0.01 = 0.02 overall; 0.08 - 0.05 = 0.03 on the slice.
    assert BUDGET.excess(probe(drop=0.03, slice_low=0.08)) == pytest.approx(0.03)
    assert BUDGET.excess(probe(drop=0.0, slice_low=0.0)) == pytest.approx(-0.01)
