from __future__ import annotations

from pathlib import Path

from coppice.testing import MemoryRegistry
from retrain import card, nearest
from retrain.pruning import recipe
from tests.support import artifacts, cards

WANTED = recipe.Recipe(amount=0.7)


def pruned(amount: float, status: str = "accepted", criterion: str = "taylor") -> card.Card:
    how = recipe.Recipe(amount=amount, criterion=criterion)  # type: ignore[arg-type]
    return cards.harmless(status=status, recipe=how)


def test_the_accepted_recipe_with_the_nearest_amount_is_named() -> None:
    known = {"m:a": pruned(0.3), "m:b": pruned(0.5), "m:c": pruned(0.2)}
    assert nearest.advice(WANTED, "m:p", known) == (
        "the nearest recipe of this parent that passed: amount 0.5 by taylor (m:b)"
    )


def test_the_same_criterion_counts_before_the_amount() -> None:
    known = {"m:a": pruned(0.7, criterion="magnitude"), "m:b": pruned(0.1)}
    assert "amount 0.1 by taylor (m:b)" in nearest.advice(WANTED, "m:p", known)


def test_what_was_refused_or_forced_is_no_advice() -> None:
    known = {"m:a": pruned(0.5, "refused"), "m:b": pruned(0.6, "forced")}
    assert nearest.advice(WANTED, "m:p", known) == ""


def test_other_parents_and_the_same_recipe_are_no_advice() -> None:
    assert nearest.advice(WANTED, "m:other", {"m:a": pruned(0.5)}) == ""
    assert nearest.advice(WANTED, "m:p", {"m:a": pruned(0.7)}) == ""


def test_dense_parents_have_no_recipe_to_name() -> None:
    assert nearest.advice(WANTED, "m:p", {"m:a": cards.harmless(recipe=None)}) == ""


def test_cards_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    registry = MemoryRegistry(tmp_path / "registry")
    artifacts.linear_classifier(tmp_path / "without")
    bare = registry.add(tmp_path / "without")
    whole = cards.register(registry, tmp_path / "with", cards.harmless())
    assert bare != whole
    assert list(nearest.cards(registry, "tiny")) == [whole]
    assert nearest.cards(registry, "tiny")[whole] == cards.harmless()
