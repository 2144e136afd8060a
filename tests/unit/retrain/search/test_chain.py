from __future__ import annotations

import pytest

from coppice import errors
from retrain.pruning import recipe
from retrain.search import chain

BLOCKS = recipe.Step(level="layer", criterion="ablation", amount=0.5)
WIDTHS = recipe.Step(level="neuron", criterion="magnitude", align=16)
ZEROS = recipe.Step(level="connection", criterion="magnitude", amount=0.8)


def levels(found: recipe.Recipe) -> list[str]:
    return [step.level for step in found.steps]


def test_a_recipe_of_widths_alone_has_nothing_before_or_after_them() -> None:
    found = chain.parted(recipe.Recipe(criterion="magnitude", align=16))
    assert (found.before, found.step, found.after) == ((), recipe.Step(**vars(WIDTHS)), ())
    assert found.start() is None


def test_blocks_stay_before_the_widths_and_single_weights_after_them() -> None:
    base = recipe.Recipe(**vars(BLOCKS), then=(WIDTHS, ZEROS))
    found = chain.parted(base)
    assert (found.before, found.step, found.after) == ((BLOCKS,), WIDTHS, (ZEROS,))


def test_of_two_steps_of_level_neuron_the_last_one_is_chosen() -> None:
    first = recipe.Step(criterion="magnitude", amount=0.25)
    found = chain.parted(recipe.Recipe(**vars(first), then=(WIDTHS,)))
    assert (found.before, found.step) == ((first,), WIDTHS)


def test_a_recipe_without_widths_gets_a_step_of_them_behind_its_blocks() -> None:
    found = chain.parted(recipe.Recipe(**vars(BLOCKS), then=(ZEROS,)))
    assert found.before == (BLOCKS,)
    assert (found.step.level, found.step.align) == ("neuron", BLOCKS.align)
    assert found.after == (ZEROS,)


def test_blocks_behind_the_widths_are_refused_with_the_order_that_works() -> None:
    base = recipe.Recipe(**vars(WIDTHS), then=(BLOCKS,))
    with pytest.raises(errors.PruningError, match="put its steps of level layer before"):
        chain.parted(base)


def test_the_recipe_leaves_blocks_out_by_name_and_then_cuts_shares_by_name() -> None:
    found = chain.parted(recipe.Recipe(**vars(WIDTHS), finetune_epochs=7))
    filled = found.filled(("b1", "b3"), {"stem": 0.5})
    assert levels(filled) == ["layer", "neuron"]
    assert (filled.amount, dict(filled.amounts)) == (0.0, {"b1": 0.9, "b3": 0.9})
    assert filled.criterion == "block-influence"
    (widths,) = filled.then
    assert (widths.criterion, widths.align, widths.amount) == ("magnitude", 16, 0.0)
    assert dict(widths.amounts) == {"stem": 0.5}
    assert filled.finetune_epochs == 7
    assert recipe.Recipe.from_json(filled.to_json()) == filled


def test_without_a_block_to_leave_out_the_recipe_has_no_such_step() -> None:
    found = chain.parted(recipe.Recipe(**vars(WIDTHS)))
    assert levels(found.filled((), {"stem": 0.5})) == ["neuron"]


def test_earlier_and_later_steps_stay_around_what_is_filled_in() -> None:
    found = chain.parted(recipe.Recipe(**vars(BLOCKS), then=(WIDTHS, ZEROS)))
    filled = found.filled(("b1",), {"stem": 0.5})
    assert levels(filled) == ["layer", "layer", "neuron", "connection"]
    assert filled.then[2] == ZEROS


def test_fields_of_the_recipe_can_be_changed() -> None:
    found = chain.parted(recipe.Recipe(**vars(WIDTHS), finetune_epochs=7))
    assert found.filled((), {}, finetune_epochs=2).finetune_epochs == 2


def test_the_start_is_cut_at_once_whatever_the_schedule() -> None:
    base = recipe.Recipe(**vars(BLOCKS), then=(WIDTHS,), schedule="gradual", rounds=3)
    start = chain.parted(base).start()
    assert start is not None
    assert (levels(start), start.schedule) == (["layer"], "one-shot")


def test_blocks_that_a_ranking_has_chosen_are_pinned_by_name() -> None:
    found = chain.parted(recipe.Recipe(**vars(BLOCKS), then=(WIDTHS,)))
    (pinned,) = found.pinned(("b2",)).before
    assert (pinned.amount, dict(pinned.amounts)) == (0.0, {"b2": 0.9})
    assert pinned.criterion == "ablation"


def test_two_steps_that_leave_blocks_out_become_one_when_they_are_pinned() -> None:
    found = chain.parted(recipe.Recipe(**vars(BLOCKS), then=(BLOCKS, WIDTHS)))
    (pinned,) = found.pinned(("b2", "b4")).before
    assert dict(pinned.amounts) == {"b2": 0.9, "b4": 0.9}


def test_findings_follow_from_what_comes_before_and_how_units_are_ranked() -> None:
    plain = chain.parted(recipe.Recipe(**vars(WIDTHS)))
    behind = chain.parted(recipe.Recipe(**vars(BLOCKS), then=(WIDTHS,)))
    longer = chain.parted(recipe.Recipe(**vars(WIDTHS), finetune_epochs=7))
    assert plain.key() != behind.key()
    assert plain.key() == longer.key()
