from __future__ import annotations

import pytest

from coppice import errors
from retrain.pruning import criteria, recipe
from retrain.sweep import plan, record

BASE = recipe.Recipe(criterion="taylor", amount=0.9, amounts={"stem": 0.1}, align=4)


def wanted(**fields: object) -> plan.Plan:
    usual = {"base": BASE, "criteria": ("random", "taylor"), "amounts": (0.5, 0.3), "seeds": (1, 2)}
    return plan.Plan(**usual | fields)  # type: ignore[arg-type]


def test_a_seed_is_finished_before_the_next_begins_and_amounts_go_up() -> None:
    found = [(each.seed, each.amount, each.criterion) for each in wanted().combinations()]
    assert found[:5] == [
        (1, 0.3, "random"),
        (1, 0.3, "taylor"),
        (1, 0.5, "random"),
        (1, 0.5, "taylor"),
        (2, 0.3, "random"),
    ]
    assert len(found) == 8


def test_what_is_named_twice_is_done_once() -> None:
    doubled = wanted(criteria=("taylor", "taylor"), amounts=(0.5, 0.5), seeds=(1, 1))
    assert doubled.combinations() == (record.Combination(criterion="taylor", amount=0.5, seed=1),)


def test_a_combination_goes_over_the_bases_own_criterion_and_amounts() -> None:
    found = wanted().recipe(record.Combination(criterion="random", amount=0.3, seed=1))
    assert found == recipe.Recipe(criterion="random", amount=0.3, align=4)


def test_a_chains_later_steps_stay() -> None:
    chained = recipe.Recipe(then=(recipe.Step(amount=0.2),))
    found = wanted(base=chained).recipe(record.Combination(criterion="random", amount=0.3, seed=1))
    assert [step.amount for step in found.steps] == [0.3, 0.2]


@pytest.mark.parametrize("field", ["criteria", "amounts", "seeds"])
def test_nothing_to_combine_is_an_error(field: str) -> None:
    with pytest.raises(errors.PruningError, match="at least"):
        wanted(**{field: ()})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"criteria": ("tailor",)}, "did you mean 'taylor'"),
        ({"amounts": (1.0,)}, "amount is 1.0"),
        ({"amounts": (0.0,)}, "amount 0 prunes nothing"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_at_once(
    fields: dict[str, object], text: str
) -> None:
    with pytest.raises(errors.PruningError, match=text):
        wanted(**fields)


def test_random_stands_first_unless_it_is_not_wanted() -> None:
    assert plan.chosen("taylor, magnitude", control=True) == ("random", "taylor", "magnitude")
    assert plan.chosen("taylor", control=False) == ("taylor",)
    assert plan.chosen("taylor,random", control=False) == ("taylor", "random")


def test_all_are_those_that_there_are() -> None:
    assert set(plan.chosen("all", control=True)) == set(criteria.names())
    assert set(criteria.names()) - set(plan.chosen("all", control=False)) == {"random"}


def test_amounts_are_numbers() -> None:
    assert plan.numbers("0.3, 0.5,") == (0.3, 0.5)
    with pytest.raises(errors.PruningError, match="no list of amounts; write for example"):
        plan.numbers("half")
