from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from monitoring import quality, windows


def row(target, answer, confidence=0.8, *, surprise=0.2, slices=(), delay=0.0):
    return windows.LabelledRow(
        "r", 0, target, float(answer == target), slices, answer, confidence, surprise, delay
    )


def drawn(count=400, classes=3, right=0.8, seed=0):
    """Answers of which so many are right, with the confidence to match."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, count)
    answers = np.where(rng.random(count) < right, targets, (targets + 1) % classes)
    pairs = zip(targets.tolist(), answers.tolist(), strict=True)
    return [row(float(target), float(answer), right) for target, answer in pairs]


def test_f1_is_that_of_scikit_learn():
    rows = drawn()
    expected = metrics.f1_score(
        [each.target for each in rows], [each.answer for each in rows], average="macro"
    )
    assert quality.measure(rows, "multiclass")["f1_macro"].value == pytest.approx(expected)


def test_a_class_that_is_never_answered_right_has_f1_nought():
    rows = [row(0.0, 0.0)] * 30 + [row(1.0, 0.0)] * 10
    # Class 0: 2 * 30 / (30 + 40) = 6/7; class 1: 0.
    assert quality.measure(rows, "binary")["f1_macro"].value == pytest.approx(3 / 7)


def test_the_log_loss_is_the_mean_surprise():
    rows = [row(0.0, 0.0, surprise=0.1)] * 30 + [row(1.0, 0.0, surprise=0.5)] * 10
    assert quality.measure(rows, "binary")["log_loss"].value == pytest.approx(0.2)


def test_honest_confidence_has_a_small_calibration_error():
    found = quality.measure(drawn(right=0.8), "multiclass")["calibration_error"]
    # One bin: the gap of a share of 0.8 over 400 rows, with a deviation of 0.02.
    assert found.value < 0.07


def test_boasting_shows_as_calibration_error():
    rows = [row(0.0, 0.0, 0.99)] * 20 + [row(1.0, 0.0, 0.99)] * 20
    # Half are right, 99% were claimed.
    assert quality.measure(rows, "binary")["calibration_error"].value == pytest.approx(0.49)


def test_errors_of_a_regression_are_in_units_of_the_target():
    rows = [row(10.0, 13.0), row(10.0, 6.0)] * 20
    found = quality.measure(rows, "regression")
    assert found["mae"].value == pytest.approx(3.5)
    assert found["rmse"].value == pytest.approx(math.sqrt(12.5))
    assert set(found) == {"mae", "rmse"}


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_every_value_lies_in_its_interval(task):
    figures = quality.measure(drawn(100), task).values()
    assert all(figure.low <= figure.value <= figure.high for figure in figures)


def test_more_rows_give_narrower_intervals():
    wide = quality.measure(drawn(50), "multiclass")["f1_macro"]
    narrow = quality.measure(drawn(800), "multiclass")["f1_macro"]
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    truth = [quality.measure(drawn(200, 2, 0.7, seed), "binary")["f1_macro"] for seed in range(60)]
    # Two classes alike in every respect: F1 is 0.7. Of 60 about 57; below 50 has a chance of 0.3%.
    assert sum(each.low <= 0.7 <= each.high for each in truth) >= 50


def test_without_kept_scores_there_is_f1_alone():
    rows = [row(0.0, 0.0, None, surprise=None)] * 30
    assert set(quality.measure(rows, "multiclass")) == {"f1_macro"}


def test_rows_from_before_answers_were_kept_have_no_measures():
    assert quality.measure([windows.LabelledRow("r", 0, 1.0, 1.0, ())] * 30, "binary") == {}


def window(*groups):
    made = windows.Window(limit=1000)
    for count, slices in groups:
        for _ in range(count):
            made.add(row(1.0, 1.0, slices=slices))
    return made


def test_slices_are_measured_apart_and_small_ones_left_out():
    found = quality.by_slice(window((30, ("pen=ink",)), (5, ("pen=lead",))), "binary")
    assert {name: each.rows for name, each in found.items()} == {"all": 35, "pen=ink": 30}


def test_an_empty_window_has_no_measures():
    assert quality.by_slice(window(), "binary") == {}


def test_delays_are_told_by_their_quantiles():
    rows = [row(1.0, 1.0, delay=float(seconds)) for seconds in range(101)]
    assert quality.delay(rows) == quality.Delay(50.0, 90.0)


def test_without_labels_there_is_no_delay():
    assert quality.delay([]) is None
