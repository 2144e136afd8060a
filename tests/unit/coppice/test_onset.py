from __future__ import annotations

import numpy as np
import pytest

from coppice import onset


def test_the_fall_is_found_near_where_it_was() -> None:
    random = np.random.default_rng(0)
    scores = np.concatenate([random.random(200) < 0.95, random.random(100) < 0.6]).astype(float)
    assert abs(onset.onset(scores) - 200) <= 10


def test_a_clean_fall_is_found_exactly() -> None:
    assert onset.onset(np.array([1.0] * 7 + [0.0] * 3)) == 7


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param([], id="nothing"),
        pytest.param([0.0], id="one score"),
        pytest.param([0.1] * 50, id="flat, where rounding could find a fall"),
        pytest.param([0.0, 0.0, 1.0, 1.0], id="rising"),
        # The best split has 3 of 4 before and 2 of 4 after: a drop of 0.25 * sqrt(2) = 0.35, at a
        # standard deviation of 0.47.
        pytest.param([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0], id="noise"),
    ],
)
def test_what_does_not_fall_has_no_onset(scores: list[float]) -> None:
    assert onset.onset(np.array(scores)) == 0


def test_scores_that_stay_as_they_were_keep_all_their_rows() -> None:
    # 300 scores at 90%, as after a retraining that helped: nothing to throw away.
    scores = (np.random.default_rng(0).random(300) < 0.9).astype(float)
    assert onset.onset(scores) == 0


def test_a_regression_s_scores_fall_by_shares() -> None:
    assert onset.onset(np.array([0.9, 0.8, 0.9, 0.4, 0.5, 0.4])) == 3
