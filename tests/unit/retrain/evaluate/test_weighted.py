from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from sklearn import metrics as judge

from coppice.labels import Floats
from retrain import train
from retrain.evaluate import intervals, metrics, weighted
from tests.support import subjects

Judge = Callable[[Floats, Floats], float]

CLASSES: dict[str, Judge] = {
    "accuracy": lambda given, truth: judge.accuracy_score(truth, given.argmax(axis=1)),
    "balanced_accuracy": lambda given, truth: judge.balanced_accuracy_score(
        truth, given.argmax(axis=1)
    ),
    "f1_macro": lambda given, truth: judge.f1_score(truth, given.argmax(axis=1), average="macro"),
    "auroc": lambda given, truth: judge.roc_auc_score(truth, given, multi_class="ovr"),
    "log_loss": lambda given, truth: judge.log_loss(truth, given),
    "brier": lambda given, truth: ((given - np.eye(10)[truth.astype(int)]) ** 2).sum(1).mean(),
    "calibration_error": metrics.calibration_error,
}
VALUES: dict[str, Judge] = {
    "mae": lambda given, truth: judge.mean_absolute_error(truth, given),
    "rmse": lambda given, truth: judge.root_mean_squared_error(truth, given),
    "r2": lambda given, truth: judge.r2_score(truth, given),
}


def asked(subject: Any) -> tuple[Floats, Floats]:
    split, task = subject.data.holdout, subject.rules.task
    given = train.predict(subject.models["candidate"], split.inputs, task=task).astype(np.float64)
    given = given if task == "regression" else given / given.sum(axis=1, keepdims=True)
    return given, split.targets.astype(np.float64)


@pytest.mark.parametrize("name", CLASSES)
def test_on_digit_scans_a_figure_is_what_the_reference_says(name: str) -> None:
    given, truth = asked(subjects.scans())
    found = weighted.figures("multiclass")[name](given, truth, weighted.plain(len(truth)))
    assert found[0] == pytest.approx(CLASSES[name](given, truth), abs=1e-9)


@pytest.mark.parametrize("name", VALUES)
def test_on_diabetes_a_figure_is_what_the_reference_says(name: str) -> None:
    given, truth = asked(subjects.diabetes())
    found = weighted.figures("regression")[name](given, truth, weighted.plain(len(truth)))
    assert found[0] == pytest.approx(VALUES[name](given, truth))


@pytest.mark.parametrize("name", CLASSES)
def test_a_row_that_counts_twice_is_a_row_that_is_there_twice(name: str) -> None:
    given, truth = asked(subjects.scans())
    counts = np.random.default_rng(0).integers(0, 3, size=len(truth))
    figure = weighted.figures("multiclass")[name]
    found = figure(given, truth, counts[None, :].astype(float))
    rows = np.repeat(np.arange(len(truth)), counts)
    assert found[0] == pytest.approx(CLASSES[name](given[rows], truth[rows]), abs=1e-9)


@pytest.mark.parametrize("name", VALUES)
def test_so_it_is_for_a_regression(name: str) -> None:
    given, truth = asked(subjects.diabetes())
    counts = np.random.default_rng(0).integers(0, 3, size=len(truth))
    found = weighted.figures("regression")[name](given, truth, counts[None, :].astype(float))
    rows = np.repeat(np.arange(len(truth)), counts)
    assert found[0] == pytest.approx(VALUES[name](given[rows], truth[rows]))


def test_two_classes_need_one_curve_only() -> None:
    given, truth = asked(subjects.tumours())
    found = weighted.auroc(given, truth, weighted.plain(len(truth)))
    assert found[0] == pytest.approx(judge.roc_auc_score(truth, given[:, 1]))


def test_equal_probabilities_count_half_in_a_curve() -> None:
    given, truth = np.array([[0.5, 0.5]] * 4), np.array([0.0, 0.0, 1.0, 1.0])
    assert weighted.auroc(given, truth, weighted.plain(4)).tolist() == [0.5]


def test_a_class_that_a_draw_lacks_is_left_out_of_its_means() -> None:
    given = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    truth = np.array([0.0, 1.0, 2.0])
    weights = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    # Without the third row both classes are recognised; with it one of three is missed.
    assert weighted.balanced_accuracy(given, truth, weights) == pytest.approx([1.0, 2 / 3])
    # F1 of the second class is then 2 * 1 / (1 + 2), of the third 0.
    assert weighted.f1_macro(given, truth, weights) == pytest.approx([1.0, (1 + 2 / 3 + 0) / 3])


def test_a_draw_of_one_class_has_no_curve() -> None:
    given, truth = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0.0, 1.0])
    assert weighted.auroc(given, truth, np.array([[2.0, 0.0]])).tolist() == [0.5]


def test_constant_targets_leave_nothing_to_explain() -> None:
    assert weighted.r2(np.array([1.0, 2.0]), np.array([3.0, 3.0]), weighted.plain(2))[0] == 0.0


def test_a_sure_mistake_does_not_make_the_loss_infinite() -> None:
    found = weighted.losses(np.array([[1.0, 0.0]]), np.array([1.0]))
    assert found == pytest.approx([-np.log(1e-7)])


@st.composite
def answered(draw: st.DrawFn) -> tuple[Floats, Floats]:
    rows = draw(st.integers(2, 30))
    seed = draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(3), size=rows)
    return probabilities, random.integers(0, 3, size=rows).astype(float)


@hypothesis.given(case=answered(), name=st.sampled_from(sorted(CLASSES)))
def test_all_draws_at_once_are_as_good_as_one_by_one(
    case: tuple[Floats, Floats], name: str
) -> None:
    given, truth = case
    weights = np.concatenate(list(intervals.draws(len(truth), count=4, seed=0)))
    figure = weighted.figures("multiclass")[name]
    together = figure(given, truth, weights)
    apart = [figure(given, truth, row[None, :])[0] for row in weights]
    assert together == pytest.approx(apart)


@hypothesis.given(case=answered(), name=st.sampled_from(sorted(CLASSES)))
def test_the_order_of_the_rows_does_not_matter(case: tuple[Floats, Floats], name: str) -> None:
    given, truth = case
    figure, once = weighted.figures("multiclass")[name], weighted.plain(len(truth))
    assert figure(given, truth, once) == pytest.approx(figure(given[::-1], truth[::-1], once))


@hypothesis.given(case=answered())
def test_bounded_figures_stay_within_their_bounds(case: tuple[Floats, Floats]) -> None:
    given, truth = case
    once = weighted.plain(len(truth))
    found = {
        name: figure(given, truth, once)[0]
        for name, figure in weighted.figures("multiclass").items()
    }
    shares = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "calibration_error")
    assert all(0.0 <= found[name] <= 1.0 for name in shares)
    assert 0.0 <= found["brier"] <= 2.0
    assert found["log_loss"] >= 0.0


def test_a_perfect_model_has_perfect_figures() -> None:
    truth = np.array([0.0, 1.0, 2.0, 2.0])
    given = np.eye(3)[truth.astype(int)]
    found = {
        name: figure(given, truth, weighted.plain(4))[0]
        for name, figure in weighted.figures("multiclass").items()
    }
    best = dict.fromkeys(("accuracy", "balanced_accuracy", "f1_macro", "auroc"), 1.0)
    assert found == best | dict.fromkeys(("log_loss", "brier", "calibration_error"), 0.0)


def test_guessing_the_mean_explains_nothing() -> None:
    truth = np.array([1.0, 2.0, 3.0, 6.0])
    given = np.full(4, truth.mean())
    assert weighted.r2(given, truth, weighted.plain(4))[0] == pytest.approx(0.0)
    # Distances of 2, 1, 0 and 3 from the mean of 3.
    assert weighted.mae(given, truth, weighted.plain(4))[0] == pytest.approx(1.5)
    assert weighted.rmse(given, truth, weighted.plain(4))[0] == pytest.approx(14**0.5 / 2)
