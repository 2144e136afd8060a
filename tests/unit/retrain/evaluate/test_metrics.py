from __future__ import annotations

import math

import numpy as np
import pytest

from retrain.evaluate import metrics


def test_classes_get_accuracy_loss_and_calibration_error() -> None:
    answers = np.array([[0.8, 0.2], [0.8, 0.2]])
    figures = metrics.measure(answers, np.array([0.0, 1.0]), task="binary")
    assert list(figures) == ["rows", "score", "log_loss", "calibration_error"]
    assert figures["score"] == 0.5
    # -(ln 0.8 + ln 0.2) / 2
    assert figures["log_loss"] == pytest.approx(-math.log(0.8 * 0.2) / 2)
    # One bin: confidence 0.8, accuracy 0.5.
    assert figures["calibration_error"] == pytest.approx(0.3)


def test_a_regression_gets_its_errors_in_units_of_the_target() -> None:
    answers, targets = np.array([1.0, 2.0, 6.0]), np.array([1.0, 3.0, 5.0])
    figures = metrics.measure(answers, targets, task="regression", scale=2.0)
    # Errors 0, 1, 1 over the scale 2 leave scores 1, 1/2, 1/2.
    assert figures["score"] == pytest.approx(2 / 3)
    assert figures["mae"] == pytest.approx(2 / 3)
    assert figures["rmse"] == pytest.approx(math.sqrt(2 / 3))
    # Squares: residual 0 + 1 + 1 = 2, spread around the mean 3: 4 + 0 + 4 = 8.
    assert figures["r2"] == pytest.approx(1 - 2 / 8)


def test_constant_targets_leave_nothing_to_explain() -> None:
    figures = metrics.measure(np.array([1.0, 2.0]), np.array([1.0, 1.0]), task="regression")
    assert figures["r2"] == 0.0


def test_one_confident_mistake_does_not_make_the_loss_infinite() -> None:
    loss = metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1.0]))
    # Clipped at 1e-7.
    assert loss == pytest.approx(7 * math.log(10))


def test_calibration_error_weighs_each_bin_by_its_rows() -> None:
    # Three rows at confidence 0.6 of which two are right (2/3), one at 1.0 that is wrong.
    answers = np.array([[0.6, 0.4]] * 3 + [[1.0, 0.0]])
    targets = np.array([0.0, 0.0, 1.0, 1.0])
    # 3/4 |2/3 - 0.6| + 1/4 |0 - 1|
    assert metrics.calibration_error(answers, targets) == pytest.approx(0.05 + 0.25)


def test_full_confidence_falls_into_the_last_bin() -> None:
    assert metrics.calibration_error(np.array([[1.0, 0.0]]), np.array([0.0])) == 0.0
