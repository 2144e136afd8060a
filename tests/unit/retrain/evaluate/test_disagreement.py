from __future__ import annotations

import numpy as np
import pytest

from retrain.evaluate import disagreement, evaluation, paired

BINARY = evaluation.Rules(task="binary")
VALUES = evaluation.Rules(task="regression", scale=10.0)


def test_models_differ_where_they_name_different_classes() -> None:
    first = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    second = np.array([[0.6, 0.4], [0.4, 0.6], [0.1, 0.9]])
    assert disagreement.differ(first, second, BINARY).tolist() == [False, True, False]


def test_values_differ_where_they_lie_more_than_a_tenth_of_the_scale_apart() -> None:
    first, second = np.array([5.0, 5.0, 5.0]), np.array([5.5, 6.5, 3.5])
    assert disagreement.differ(first, second, VALUES).tolist() == [False, True, True]


def test_who_is_right_is_counted_only_where_they_differ() -> None:
    first, second = np.eye(3)[[0, 0, 1, 1, 2]], np.eye(3)[[0, 1, 0, 2, 1]]
    rules = evaluation.Rules(task="multiclass")
    found = disagreement.between(first, second, np.array([0.0, 0.0, 0.0, 0.0, 0.0]), rules)
    # The first row agrees; the second is the first model's, the third the second's, two are both
    # wrong.
    assert (found.first_better, found.second_better, found.neither) == (1, 1, 2)
    assert found.share.value == pytest.approx(4 / 5)
    assert found.rows == 5


def test_for_values_the_nearer_answer_is_better() -> None:
    found = disagreement.between(
        np.array([5.0, 9.0, 5.0]), np.array([8.0, 5.0, 5.1]), np.array([4.0, 4.0, 4.0]), VALUES
    )
    assert (found.first_better, found.second_better, found.neither) == (1, 1, 0)


def test_the_excess_is_paired() -> None:
    candidate, control = np.arange(200) < 20, np.arange(200) < 6
    found = disagreement.excess(candidate, control, confidence=0.95)
    # All of the control's rows are among the candidate's: 14 rows more, none less.
    low, high = paired.tango(14, 0, 200, confidence=0.95)
    assert found == pytest.approx((0.07, low, high))


def test_equal_disagreement_is_no_excess() -> None:
    rows = np.arange(100) < 5
    found = disagreement.excess(rows, rows, confidence=0.95)
    assert found.value == 0.0
    assert found.low < 0.0 < found.high
