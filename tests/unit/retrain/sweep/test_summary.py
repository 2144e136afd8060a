from __future__ import annotations

import msgspec
import numpy as np
import pytest

from retrain.sweep import record, summary
from tests.support import sweeps


def at(criterion: str, seed: int, amount: float = 0.5) -> record.Combination:
    return record.Combination(criterion=criterion, amount=amount, seed=seed)


def test_a_cell_holds_the_mean_over_its_seeds_and_their_spread() -> None:
    (random, *_) = summary.cells(sweeps.usual())
    assert (random.criterion, random.amount, random.seeds) == ("random", 0.5, 2)
    # 0.94 and 0.95: half a point beside the mean, so 0.01 / sqrt(2) is their deviation.
    assert random.score.value == pytest.approx(0.945)
    assert random.score.spread == pytest.approx(0.01 / np.sqrt(2))
    assert random.drop == summary.Mean(pytest.approx(0.03), pytest.approx(0.0))


def test_ratios_are_dense_over_pruned() -> None:
    (random, *_) = summary.cells(sweeps.usual())
    # Half the width leaves a quarter of 1000, half of 400 and of 2000, and 300 of 1200.
    assert (random.macs, random.parameters, random.graph_bytes) == (4.0, 2.0, 2.0)
    assert random.zipped_bytes == 4.0


def test_speeds_keep_the_widest_ends_of_their_races() -> None:
    (random, *_) = summary.cells(sweeps.usual())
    assert random.gains[1] == (1.5, pytest.approx(1.4), pytest.approx(1.7))
    assert random.gains[record.BATCH].value == 3.0
    assert random.eager_gains[1].value == 15.0


def test_a_single_seed_has_no_spread() -> None:
    (cell,) = summary.cells(sweeps.sweep([sweeps.outcome("taylor", 0.5, 3, 0.9)]))
    assert cell.score == (0.9, None)


def test_what_was_refused_is_no_cell() -> None:
    assert {cell.criterion for cell in summary.cells(sweeps.usual())} == {"random", "taylor"}


def test_points_carry_score_and_speed() -> None:
    point = summary.points(sweeps.usual(), 1)[1]
    assert (point.series, point.label, point.gain) == ("taylor", "50%", 1.5)
    assert (point.low, point.high) == (pytest.approx(1.4), pytest.approx(1.7))
    assert point.quality == pytest.approx(0.965)


def test_an_interval_counts_what_varies_over_seeds_and_over_rows() -> None:
    # Seeds' means 0.5 and 0: deviation 0.3536, error 0.25, times t(1) = 12.706 is 3.1766.
    # Rows' means 0.5, 0.5, 0, 0: deviation 0.2887, error 0.1443, times 1.96 is 0.2829.
    differences = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    value, low, high = summary.interval(differences, confidence=0.95)
    assert value == 0.25
    assert (low, high) == (pytest.approx(0.25 - 3.189, abs=2e-3), pytest.approx(3.439, abs=2e-3))


def test_seeds_that_agree_still_leave_the_doubt_of_the_rows() -> None:
    # One row of four gained by both: means 1, 0, 0, 0, error 0.25, times 1.96 is 0.49.
    value, low, high = summary.interval(np.array([[1.0, 0, 0, 0]] * 2), confidence=0.95)
    assert (value, low, high) == (
        0.25,
        pytest.approx(-0.24, abs=1e-3),
        pytest.approx(0.74, abs=1e-3),
    )


def test_a_single_seed_has_no_interval() -> None:
    assert summary.interval(np.array([[1.0, 0.0]]), confidence=0.95) == (0.5, None, None)


def test_criteria_are_compared_with_chance_over_all_amounts_and_at_each() -> None:
    better, worse = np.array([1.0, 1.0]), np.array([0.0, 1.0])
    scores = {
        **{at("random", seed, amount): worse for seed in (1, 2) for amount in (0.3, 0.5)},
        **{at("taylor", seed, amount): better for seed in (1, 2) for amount in (0.3, 0.5)},
    }
    found = summary.edges(scores, dict.fromkeys(scores, 1), confidence=0.95)
    assert [(each.criterion, each.amount, each.seeds) for each in found] == [
        ("taylor", None, 2),
        ("taylor", 0.3, 2),
        ("taylor", 0.5, 2),
    ]
    assert {each.value for each in found} == {0.5}


def test_a_seed_that_lacks_an_amount_does_not_count_over_all_of_them() -> None:
    row = np.array([1.0, 0.0])
    whole = [at(name, 1, amount) for name in ("random", "taylor") for amount in (0.3, 0.5)]
    half = [at(name, 2, 0.3) for name in ("random", "taylor")]
    scores = dict.fromkeys([*whole, *half], row)
    found = {
        each.amount: each
        for each in summary.edges(scores, dict.fromkeys(scores, 1), confidence=0.95)
    }
    assert (found[None].seeds, found[0.3].seeds, found[0.5].seeds) == (1, 2, 1)


def test_an_amount_that_a_criterion_never_managed_is_left_out() -> None:
    row = np.array([1.0, 0.0])
    scores = dict.fromkeys([at("random", 1, 0.3), at("random", 1, 0.5), at("taylor", 1, 0.5)], row)
    found = summary.edges(scores, dict.fromkeys(scores, 1), confidence=0.95)
    assert [each.amount for each in found] == [None, 0.5]


def test_without_the_control_nothing_is_compared() -> None:
    scores = {at("taylor", 1): np.array([1.0])}
    assert summary.edges(scores, {at("taylor", 1): 1}, confidence=0.95) == ()


def test_what_is_shown_to_be_better_than_chance_is_said() -> None:
    assert summary.sentences(sweeps.usual()) == (
        "Better than random choice, over all amounts: taylor +1.50 points (+0.50 to +2.50).",
    )


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-0.01, 0.04, "Not above random choice, as far as this sweep can tell: taylor +1.50"),
        (-0.05, -0.01, "Worse than random choice: taylor +1.50 points (-5.00 to -1.00)."),
        (None, None, "With a single seed nothing can be told from chance; more seeds would."),
    ],
)
def test_what_is_not_shown_is_said_as_plainly(
    low: float | None, high: float | None, text: str
) -> None:
    edge = record.Edge(criterion="taylor", seeds=2, value=0.015, low=low, high=high)
    first, *rest = summary.sentences(sweeps.usual(edges=(edge,)))
    assert first == "No criterion is shown to be better than random choice."
    assert any(text in sentence for sentence in rest)


def test_without_a_comparison_no_use_is_claimed() -> None:
    (sentence,) = summary.sentences(sweeps.usual(edges=()))
    assert "no criterion is shown to be of use" in sentence


def test_longer_training_is_told() -> None:
    edge = msgspec.structs.replace(sweeps.usual().edges[0], more_epochs=2)
    assert "taylor trained longer" in summary.sentences(sweeps.usual(edges=(edge,)))[-1]


def test_training_beyond_that_of_chance_is_counted() -> None:
    row = np.array([1.0, 0.0])
    epochs = {at("random", 1): 3, at("taylor", 1): 5}
    found = summary.edges(dict.fromkeys(epochs, row), epochs, confidence=0.95)
    assert {each.more_epochs for each in found} == {2}
