from __future__ import annotations

import pytest

from coppice_cli import comparison
from retrain.evaluate import evaluation
from tests.support import cards


def named(*, every: bool = False) -> dict[str, comparison.Row]:
    found = comparison.rows(cards.harmless(), cards.harmful(), every=every)
    return {row.name: row for row in found}


def test_a_change_is_the_second_minus_the_first() -> None:
    assert named()["score"].change == pytest.approx(-0.07)
    assert named()["drop on pen=ink"].change == pytest.approx(0.25)


def test_worse_follows_the_direction_of_the_figure() -> None:
    found = named()
    assert found["score"].worse
    assert found["drop"].worse
    assert not found["amount"].worse
    assert not found["macs"].worse


def test_a_figure_of_one_version_alone_has_no_change() -> None:
    gain = named()["gain"]
    assert (gain.first, gain.second, gain.change, gain.worse) == (2.0, None, None, False)


def test_only_what_a_gate_judges_is_taken_of_the_sections() -> None:
    assert "robustness: worst_drop" in named()
    assert "robustness: fgsm_score" not in named()
    assert "robustness: fgsm_score" in named(every=True)


def test_a_dense_parent_is_compared_by_its_own_scores() -> None:
    bare = evaluation.Evaluation(
        holdout=evaluation.Table(rows=9, columns={"parent": {"score": 1.0}}, yardstick="parent")
    )
    dense = cards.harmless(evaluation=bare, recipe=None, cost={"parent_macs": 400.0})
    found = {row.name: row for row in comparison.rows(dense, cards.harmless())}
    assert (found["score"].first, found["score"].second) == (1.0, 0.96)
    assert (found["macs"].first, found["macs"].second) == (400.0, 100.0)
    assert found["amount"].first is None


def test_production_has_figures_of_its_own() -> None:
    judged = evaluation.Evaluation(holdout=cards.table(), production=cards.table(40, 0))
    (row,) = (
        row
        for row in comparison.rows(cards.harmless(), cards.card_of(judged))
        if row.name == "production score"
    )
    # 40 of 400 lost: 97% minus 10 points.
    assert (row.first, row.second) == (None, pytest.approx(0.87))
