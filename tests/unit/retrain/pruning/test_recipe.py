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
    assert f"known: {', '.join(criteria.names())}" in str(caught.value)


def test_an_unknown_level_names_the_known_ones() -> None:
    with pytest.raises(errors.PruningError, match="level 'kernel' is not known; known: neuron"):
        recipe.Recipe(level="kernel")


def test_a_recipe_survives_json() -> None:
    given = recipe.Recipe(criterion="random", amount=0.25, align=16)
    assert recipe.Recipe.from_json(given.to_json()) == given


def test_the_json_is_a_plain_object_of_the_fields() -> None:
    tree = json.loads(recipe.Recipe().to_json())
    assert tree == {**dataclasses.asdict(recipe.Recipe()), "then": []}


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


CHAINED = recipe.Recipe(
    amount=0.5,
    amounts={"stem": 0.2},
    then=(recipe.Step(criterion="magnitude", amount=0.8),),
)


def test_a_chained_recipe_survives_json() -> None:
    assert recipe.Recipe.from_json(CHAINED.to_json()) == CHAINED


def test_the_steps_are_the_recipe_s_own_and_those_that_follow() -> None:
    assert CHAINED.steps == (
        recipe.Step(amount=0.5, amounts={"stem": 0.2}),
        recipe.Step(criterion="magnitude", amount=0.8),
    )


def test_a_milder_chain_is_milder_in_every_step() -> None:
    milder = CHAINED.milder(0.5)
    assert milder.amounts == {"stem": 0.1}
    assert [step.amount for step in milder.steps] == [0.25, 0.4]


def test_a_recipe_without_its_cut_removes_nothing() -> None:
    assert CHAINED.without_cut().removes_nothing
    assert not CHAINED.removes_nothing
    assert not recipe.Recipe(amount=0.0, then=(recipe.Step(),)).removes_nothing


def test_steps_come_from_the_settings_too() -> None:
    step = settings.StepSettings(criterion="magnitude", amount=0.8)
    section = settings.PruneSettings(amount=0.5, amounts={"stem": 0.2}, then=(step,))
    assert recipe.Recipe.from_settings(section) == CHAINED


def test_an_unknown_field_of_a_later_step_names_the_nearest() -> None:
    with pytest.raises(errors.PruningError, match="did you mean 'align'"):
        recipe.Recipe.from_json('{"then": [{"aling": 4}]}')


def test_equal_parts_are_due_after_each_cut_of_an_iterative_schedule() -> None:
    assert recipe.Recipe(schedule="iterative", rounds=4).dues == (0.25, 0.5, 0.75, 1.0)


def test_a_gradual_schedule_cuts_most_at_first() -> None:
    # Two thirds, one third and none of the cut are still to come, each cubed.
    dues = recipe.Recipe(schedule="gradual", rounds=3).dues
    assert dues == pytest.approx((19 / 27, 26 / 27, 1.0))


@pytest.mark.parametrize("pattern", ["4:2", "0:4", "2-4", "dense", "2:4:8"])
def test_a_pattern_that_keeps_nothing_or_all_of_a_run_is_refused(pattern: str) -> None:
    with pytest.raises(errors.PruningError, match="pattern"):
        recipe.Step(pattern=pattern)


@pytest.mark.parametrize("field", ["level", "criterion", "scope"])
def test_an_unknown_name_in_a_step_is_refused(field: str) -> None:
    with pytest.raises(errors.PruningError, match=field):
        recipe.Step(**{field: "nonsense"})


def test_an_amount_of_a_single_group_is_checked() -> None:
    with pytest.raises(errors.PruningError, match=r"stem is 1\.5"):
        recipe.Step(amounts={"stem": 1.5})


@pytest.mark.parametrize(
    ("pattern", "amount", "factor", "milder"),
    [
        ("2:4", 0.5, 0.9, ("3:4", 0.25)),  # of the 2 that go, 1.8: 1
        ("1:4", 0.75, 0.7, ("2:4", 0.5)),  # of 3, 2.1: 2
        ("2:4", 0.5, 0.4, ("2:4", 0.0)),  # of 2, 0.8: nothing
    ],
)
def test_a_milder_pattern_keeps_more_of_a_run(
    pattern: str, amount: float, factor: float, milder: tuple[str, float]
) -> None:
    given = recipe.Recipe(level="connection", pattern=pattern, amount=amount).milder(factor)
    assert (given.pattern, given.amount) == milder


def test_a_pattern_and_its_amount_have_to_agree() -> None:
    with pytest.raises(errors.PruningError, match=r"amount is 0.5, allowed: 0.75, which"):
        recipe.Recipe(level="connection", pattern="1:4")


def test_single_tensors_can_be_left_out_of_a_pattern() -> None:
    amounts = {"stem.weight": 0.0}
    assert recipe.Recipe(level="connection", pattern="2:4", amounts=amounts).amounts == amounts


def test_a_pattern_of_another_level_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="pattern 2:4 is of level connection, not neuron"):
        recipe.Recipe(pattern="2:4")
