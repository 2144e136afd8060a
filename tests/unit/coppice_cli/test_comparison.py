from __future__ import annotations

import pytest

from coppice_cli import comparison
from retrain.evaluate import evaluation
from retrain.pruning import recipe
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
    assert not found["channels removed"].worse
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
    assert found["channels removed"].first is None


def test_production_has_figures_of_its_own() -> None:
    judged = evaluation.Evaluation(holdout=cards.table(), production=cards.table(40, 0))
    (row,) = (
        row
        for row in comparison.rows(cards.harmless(), cards.card_of(judged))
        if row.name == "production score"
    )
    # 40 of 400 lost: 97% minus 10 points.
    assert (row.first, row.second) == (None, pytest.approx(0.87))


def test_a_chain_has_an_amount_for_each_level() -> None:
    single = cards.harmless(recipe=recipe.Recipe(amount=0.5, finetune_epochs=4))
    chain = recipe.Recipe(
        amount=0.5,
        schedule="gradual",
        rounds=3,
        finetune_epochs=6,
        then=(
            recipe.Step(amount=0.2),
            recipe.Step(level="connection", amount=0.7, criterion="magnitude"),
        ),
    )
    found = {row.name: row for row in comparison.rows(single, cards.harmless(recipe=chain))}
    # Four fifths of a half stay.
    assert found["channels removed"].second == pytest.approx(0.6)
    assert (found["weights removed"].first, found["weights removed"].second) == (
        None,
        pytest.approx(0.7),
    )
    assert "blocks removed" not in found
    # One cut against three steps of three cuts each.
    assert (found["cuts"].first, found["cuts"].second) == (1, 9)
    assert found["recovery epochs"].change == 2


def test_amounts_of_single_groups_are_no_one_figure() -> None:
    searched = cards.harmless(recipe=recipe.Recipe(amounts={"stem": 0.25}))
    found = {row.name: row for row in comparison.rows(searched, cards.harmless())}
    assert (found["channels removed"].first, found["channels removed"].second) == (None, 0.5)
