from __future__ import annotations

import pytest

from retrain.pruning import recipe, wording


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (recipe.Step(amount=0.3), "30% of the channels by magnitude"),
        (recipe.Step(amount=0.07, scope="global"), "7% of all channels together by magnitude"),
        (
            recipe.Step(scope="criterion"),
            "50% of the channels, as the criterion allots it, by magnitude",
        ),
        (recipe.Step(level="layer", criterion="random"), "50% of the blocks by random"),
        (
            recipe.Step(level="connection", pattern="2:4"),
            "50% of the weights by magnitude in runs of 2:4",
        ),
        (
            recipe.Step(amounts={"stem": 0.1, "fc": 0.2}),
            "50% of the channels by magnitude (2 of them by amounts of their own)",
        ),
    ],
)
def test_a_step_is_told_in_words(step: recipe.Step, text: str) -> None:
    assert wording.step(step) == text


def test_a_recipe_tells_of_its_recovery() -> None:
    assert (
        wording.whole(recipe.Recipe()) == "50% of the channels by magnitude; 10 epochs of recovery"
    )


def test_a_chain_is_told_step_by_step_with_its_cuts() -> None:
    chain = recipe.Recipe(schedule="iterative", rounds=2, then=(recipe.Step(amount=0.2),))
    assert wording.whole(chain) == (
        "50% of the channels by magnitude, then 20% of the channels by magnitude; "
        "2 iterative cuts each; 10 epochs of recovery"
    )


def test_steps_of_a_level_add_up_to_what_stays_of_what_stays() -> None:
    chain = recipe.Recipe(
        amount=0.5, then=(recipe.Step(amount=0.2), recipe.Step(level="layer", amount=0.25))
    )
    # A half of which four fifths stay.
    assert wording.removed(chain, "neuron") == pytest.approx(0.6)
    assert wording.removed(chain, "layer") == 0.25
    assert wording.removed(chain, "connection") == 0.0


def test_amounts_of_single_groups_are_no_one_number() -> None:
    assert wording.removed(recipe.Recipe(amounts={"stem": 0.1}), "neuron") is None
