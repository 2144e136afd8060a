from __future__ import annotations

import math

import pytest

from bench import pruning_summary


def test_a_spread_is_mean_and_standard_deviation() -> None:
    # Deviations -1, 0 and 1 over two degrees of freedom.
    assert pruning_summary.spread([1.0, 2.0, 3.0]) == (2.0, 1.0)


def test_one_value_has_no_spread() -> None:
    assert math.isnan(pruning_summary.spread([1.0]).deviation)


def test_shares_are_written_as_points() -> None:
    assert pruning_summary.Spread(0.9252, 0.0036).points() == "92.52 ± 0.36"


ACCURACIES = {
    "random": {"small": [[0.5, 0.5], [0.5, 0.5]], "wide": [[0.5, 0.5], [0.5, 0.5]]},
    # Means over the rates of each seed: 0.02 and 0.04; 0.10 and 0.12.
    "good": {"small": [[0.52, 0.52], [0.53, 0.55]], "wide": [[0.6, 0.6], [0.62, 0.62]]},
}


def test_a_gain_is_the_mean_of_the_nets_means() -> None:
    (gain,) = pruning_summary.gains(ACCURACIES, "random")
    # Nets: 0.03 and 0.11.
    assert gain.mean == pytest.approx(0.07)


def test_its_interval_knows_the_spread_within_the_nets_alone() -> None:
    (gain,) = pruning_summary.gains(ACCURACIES, "random")
    # Each net's deviation is 0.02 / sqrt 2, its variance of the mean 0.0001; of both nets' mean
    # sqrt(2 * 0.0001) / 2. Two degrees of freedom: t = 4.303.
    assert gain.high - gain.mean == pytest.approx(4.303 * math.sqrt(0.0002) / 2, rel=1e-3)
    assert gain.verdict == "above random"


def test_more_criteria_make_wider_intervals() -> None:
    both = {**ACCURACIES, "other": ACCURACIES["good"]}
    alone, beside = (
        pruning_summary.gains(ACCURACIES, "random"),
        pruning_summary.gains(both, "random"),
    )
    assert beside[0].high - beside[0].low > alone[0].high - alone[0].low


def test_one_seed_shows_nothing() -> None:
    single = {name: {"small": nets["small"][:1]} for name, nets in ACCURACIES.items()}
    (gain,) = pruning_summary.gains(single, "random")
    assert gain.verdict == "not told apart from random"


def test_what_is_below_random_is_called_so() -> None:
    swapped = {"random": ACCURACIES["good"], "bad": ACCURACIES["random"]}
    (gain,) = pruning_summary.gains(swapped, "random")
    assert gain.verdict == "below random"


def test_the_best_comes_first() -> None:
    both = {"worse": ACCURACIES["random"], **ACCURACIES}
    assert [gain.criterion for gain in pruning_summary.gains(both, "random")] == ["good", "worse"]
