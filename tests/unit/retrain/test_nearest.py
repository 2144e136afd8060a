from __future__ import annotations

from pathlib import Path

from coppice.testing import MemoryRegistry
from retrain import card, nearest
from retrain.pruning import recipe
from tests.support import artifacts, cards

WANTED = recipe.Recipe(amount=0.7)


def pruned(amount: float, status: str = "accepted", criterion: str = "magnitude") -> card.Card:
    how = recipe.Recipe(amount=amount, criterion=criterion)  # type: ignore[arg-type]
    return cards.harmless(status=status, recipe=how)


def test_the_accepted_recipe_with_the_nearest_amount_is_named() -> None:
    known = {"m:a": pruned(0.3), "m:b": pruned(0.5), "m:c": pruned(0.2)}
    assert nearest.advice(WANTED, "m:p", known) == (
        "the nearest recipe of this parent that passed: 50% of the channels by magnitude; "
        "10 epochs of recovery (m:b)"
    )


def test_the_same_criterion_counts_before_the_amount() -> None:
    known = {"m:a": pruned(0.7, criterion="taylor"), "m:b": pruned(0.1)}
    assert "10% of the channels by magnitude" in nearest.advice(WANTED, "m:p", known)


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


def chain(*steps: recipe.Step, **fields: object) -> card.Card:
    first = {field: getattr(steps[0], field) for field in ("level", "criterion", "amount")}
    how = recipe.Recipe(**first, then=steps[1:], **fields)  # type: ignore[arg-type]
    return cards.harmless(recipe=how)


WEIGHTS = recipe.Step(level="connection", criterion="magnitude", amount=0.7)


def test_the_same_levels_count_before_the_same_criteria() -> None:
    known = {
        "m:a": chain(recipe.Step(amount=0.7), WEIGHTS),
        "m:b": chain(recipe.Step(criterion="random", amount=0.2)),
    }
    assert "by random" in nearest.advice(WANTED, "m:p", known)


def test_the_way_of_cutting_counts_before_the_amounts() -> None:
    known = {
        "m:a": chain(recipe.Step(amount=0.7), schedule="gradual"),
        "m:b": chain(recipe.Step(amount=0.3)),
    }
    assert "(m:b)" in nearest.advice(WANTED, "m:p", known)


def test_every_step_of_a_chain_counts() -> None:
    wanted = recipe.Recipe(amount=0.5, then=(WEIGHTS,))
    known = {
        # 0 and 0.5 apart; 0.1 and 0.1 apart.
        "m:a": chain(
            recipe.Step(amount=0.5),
            recipe.Step(level="connection", criterion="magnitude", amount=0.2),
        ),
        "m:b": chain(
            recipe.Step(amount=0.4),
            recipe.Step(level="connection", criterion="magnitude", amount=0.6),
        ),
    }
    advice = nearest.advice(wanted, "m:p", known)
    assert "40% of the channels by magnitude, then 60% of the weights by magnitude" in advice


def test_amounts_of_single_groups_count() -> None:
    wanted = recipe.Recipe(amounts={"stem": 0.5, "fc": 0.25})
    near = recipe.Recipe(amounts={"stem": 0.5, "fc": 0.2})
    known = {"m:a": cards.harmless(recipe=recipe.Recipe()), "m:b": cards.harmless(recipe=near)}
    assert "(m:b)" in nearest.advice(wanted, "m:p", known)


def test_of_the_same_cut_the_nearer_recovery_is_named() -> None:
    known = {
        "m:a": cards.harmless(recipe=recipe.Recipe(amount=0.7, finetune_epochs=30)),
        "m:b": cards.harmless(recipe=recipe.Recipe(amount=0.7, finetune_epochs=12)),
    }
    assert "12 epochs of recovery (m:b)" in nearest.advice(WANTED, "m:p", known)
