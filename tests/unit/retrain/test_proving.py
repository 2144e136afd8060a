from __future__ import annotations

import pytest

from retrain import proving
from retrain.evaluate import evaluation


def table(rows: int, score: float) -> evaluation.Table:
    return evaluation.Table(
        rows=rows, columns={"candidate": {"score": score}}, yardstick="candidate"
    )


def test_without_production_the_holdout_says_what_to_expect() -> None:
    judged = evaluation.Evaluation(holdout=table(300, 0.97))
    assert proving.expected(judged, "candidate") == (0.97, 300)


def test_a_perfect_score_on_few_production_rows_is_not_believed() -> None:
    judged = evaluation.Evaluation(holdout=table(300, 0.97), production=table(75, 1.0))
    score, rows = proving.expected(judged, "candidate")
    # 75 right and 2 more, of 75 rows and 4 more.
    assert score == pytest.approx(77 / 79)
    assert rows == 75


def test_a_handful_of_production_rows_says_nothing() -> None:
    judged = evaluation.Evaluation(holdout=table(300, 0.97), production=table(29, 0.5))
    assert proving.expected(judged, "candidate") == (0.97, 300)
