from __future__ import annotations

import dataclasses
import json

import pytest

from coppice import errors, settings
from retrain.pruning import criteria, recipe


def test_the_defaults_are_those_of_the_settings() -> None:
    assert recipe.Recipe() == recipe.Recipe.from_settings(settings.PruneSettings())


def test_a_recipe_takes_every_field_from_the_settings() -> None:
    section = settings.PruneSettings(
        criterion="magnitude",
        amount=0.3,
        align=4,
        batch_norm_rows=100,
        finetune_epochs=2,
        learning_rate=0.1,
        distill_weight=0.2,
        temperature=2.0,
    )
    assert dataclasses.asdict(recipe.Recipe.from_settings(section)) == section.model_dump()


def test_the_names_of_the_criteria_are_those_that_have_a_function() -> None:
    assert set(recipe.CRITERIA) == set(criteria.CRITERIA)


def test_a_milder_recipe_removes_the_given_share_of_the_amount() -> None:
    milder = recipe.Recipe(amount=0.8, align=4).milder(0.5)
    # 0.8 * 0.5; everything else stays.
    assert milder == recipe.Recipe(amount=0.4, align=4)


def test_milder_twice_is_milder_still() -> None:
    # 0.8 * 0.5 * 0.5
    assert recipe.Recipe(amount=0.8).milder(0.5).milder(0.5).amount == pytest.approx(0.2)


@pytest.mark.parametrize("factor", [0.0, 1.0, 1.5, -0.5, float("nan")])
def test_a_factor_that_is_not_milder_is_refused(factor: float) -> None:
    with pytest.raises(errors.PruningError, match=r"factor is .*, allowed: \(0, 1\)"):
        recipe.Recipe().milder(factor)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 1.0),
        ("amount", -0.1),
        ("amount", float("nan")),
        ("align", 0),
        ("batch_norm_rows", 0),
        ("finetune_epochs", -1),
        ("learning_rate", 0.0),
        ("distill_weight", 1.1),
        ("distill_weight", -0.1),
        ("temperature", 0.0),
    ],
)
def test_a_number_outside_its_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(errors.PruningError, match=f"recipe: {field} is .*allowed"):
        recipe.Recipe(**{field: value})  # type: ignore[arg-type]


def test_an_unknown_criterion_names_the_nearest_and_all_known() -> None:
    with pytest.raises(errors.PruningError, match="did you mean 'taylor'") as caught:
        recipe.Recipe(criterion="tailor")
    assert "known: magnitude, random, taylor" in str(caught.value)


def test_an_unknown_level_names_the_known_ones() -> None:
    with pytest.raises(errors.PruningError, match="level 'kernel' is not known; known: neuron"):
        recipe.Recipe(level="kernel")


def test_a_recipe_survives_json() -> None:
    given = recipe.Recipe(criterion="random", amount=0.25, align=16)
    assert recipe.Recipe.from_json(given.to_json()) == given


def test_the_json_is_a_plain_object_of_the_fields() -> None:
    tree = json.loads(recipe.Recipe().to_json())
    assert tree == dataclasses.asdict(recipe.Recipe())


def test_fields_left_out_of_the_json_take_their_defaults() -> None:
    assert recipe.Recipe.from_json('{"amount": 0.1}') == recipe.Recipe(amount=0.1)


def test_an_unknown_field_in_the_json_names_the_nearest() -> None:
    with pytest.raises(errors.PruningError, match="did you mean 'amount'"):
        recipe.Recipe.from_json('{"amuont": 0.1}')


@pytest.mark.parametrize("text", ["", "[]", "{", '{"amount": "half"}', '{"align": 1.5}'])
def test_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(errors.PruningError, match="the recipe cannot be read"):
        recipe.Recipe.from_json(text)


def test_a_value_in_the_json_outside_its_range_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="amount"):
        recipe.Recipe.from_json('{"amount": 2.0}')
