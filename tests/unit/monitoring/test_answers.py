from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice import errors, labels
from monitoring import answers
from tests.support import traffic

THREE = answers.Scoring("multiclass", ("a", "b", "c"), 1.0)
LINE = answers.Scoring("regression", (), 2.0)

number = st.floats(-10, 10, width=32)


@given(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_single_rows_of_classes_are_scored_like_arrays_of_them(first, second, target):
    pair = [traffic.one_hot([each], 3)["scores"].array() for each in (first, second)]
    truth = np.array([float(target)])
    expected = labels.scores(pair[0], truth, task="multiclass")[0]
    assert THREE.score(float(first), float(target)) == expected
    expected = labels.divergence(pair[0], pair[1], task="multiclass")[0]
    assert THREE.divergence(float(first), float(second)) == expected


@given(number, number, number)
def test_single_rows_of_values_are_scored_like_arrays_of_them(first, second, target):
    pair = [np.array([first]), np.array([second])]
    truth = np.array([target])
    expected = labels.scores(pair[0], truth, task="regression", scale=2.0)[0]
    assert LINE.score(first, target) == pytest.approx(expected)
    expected = labels.divergence(pair[0], pair[1], task="regression", scale=2.0)[0]
    assert LINE.divergence(first, second) == pytest.approx(expected)
    expected = labels.differ(pair[0], pair[1], task="regression", scale=2.0)[0]
    assert LINE.differ(first, second) == expected


@pytest.mark.parametrize(("second", "expected"), [(1.1, False), (1.3, True)])
def test_values_differ_beyond_a_tenth_of_the_scale(second, expected):
    # A tenth of 2 is 0.2.
    assert LINE.differ(1.0, second) is expected


def test_class_probabilities_become_the_index_of_the_largest():
    assert THREE.answers(traffic.one_hot([2, 0], 3)) == (2.0, 0.0)


def test_values_of_a_regression_stay_what_they_are():
    assert LINE.answers(traffic.values([1.5, -2.0])) == (1.5, -2.0)


def test_labels_are_class_names_or_indexes():
    assert THREE.targets(["c", 1]) == (2.0, 1.0)


@pytest.mark.parametrize(
    "outputs",
    [{}, traffic.values([1.0])],
    ids=["none", "wrong dimensions"],
)
def test_an_answer_that_is_none_is_refused(outputs):
    with pytest.raises(errors.UndecodableEvent, match="scores"):
        THREE.answers(outputs)


def test_a_regression_does_not_take_probabilities():
    with pytest.raises(errors.UndecodableEvent):
        LINE.answers(traffic.one_hot([1]))


def test_scores_are_kept_of_classifications_of_few_classes():
    few = answers.Scoring("multiclass", tuple("abc"), 1.0)
    outputs = traffic.one_hot([2, 0], classes=3)
    kept = few.kept_scores(outputs)
    assert kept == outputs["scores"].data
    found = few.certainty(kept, 0.0, 2.0, row=1)
    assert found.confidence == pytest.approx(0.9)
    assert found.surprise == pytest.approx(-math.log(0.1))


def test_scores_of_very_many_classes_and_of_values_are_not_kept():
    many = answers.Scoring("multiclass", tuple(map(str, range(answers.MOST_KEPT + 1))), 1.0)
    assert many.kept_scores(traffic.one_hot([0], classes=answers.MOST_KEPT + 1)) == b""
    assert answers.Scoring("regression", (), 1.0).kept_scores(traffic.values([1.0])) == b""
    assert many.certainty(b"", 0.0, 0.0, row=0) == answers.Certainty(None, None)


def test_a_score_of_nought_for_the_truth_is_a_finite_surprise():
    scores = np.array([[1.0, 0.0]], dtype="<f4").tobytes()
    found = answers.Scoring("binary", ("no", "yes"), 1.0).certainty(scores, 0.0, 1.0, row=0)
    assert found.surprise == pytest.approx(-math.log(answers.LEAST_SCORE))
