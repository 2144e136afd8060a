from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from coppice import errors
from retrain.pruning import recipe, schedule
from retrain.search import grounds, subject
from tests.support import searching

BLOCKS = {"2", "3"}
LEAVE_ONE = recipe.Recipe(
    level="layer",
    criterion="ablation",
    amount=0.5,
    then=(recipe.Step(criterion="magnitude"),),
)


def many() -> nn.Module:
    """A trunk of twenty blocks."""
    return nn.Sequential(
        nn.Linear(4, 8), *(searching.Branch(8, 8) for _ in range(20)), nn.Linear(8, 2)
    )


def test_blocks_go_one_after_the_other_in_one_order(tmp_path: Path) -> None:
    first, second, third = searching.subject_of(tmp_path).grounds
    assert first.out == ()
    assert len(second.out) == 1
    assert third.out[0] == second.out[0]
    assert set(third.out) == BLOCKS
    assert {ground.blocks for ground in (first, second, third)} == {2}


def test_a_ground_answers_like_the_model_without_its_blocks(tmp_path: Path) -> None:
    of = searching.subject_of(tmp_path)
    rows = torch.from_numpy(of.validation.inputs["x"])
    last = of.grounds[-1].model
    stem, _, _, _, norm, head = of.model.children()
    assert torch.equal(last(rows), head(norm(stem(rows).relu())))
    assert of.model.get_submodule("2.inner") is not None


def test_the_block_that_turns_least_what_it_reads_goes_first(tmp_path: Path) -> None:
    def build() -> nn.Module:
        model = searching.build_deep()
        with torch.no_grad():
            # Block 3 adds next to nothing, so it leaves the direction of its input as it is.
            model.get_submodule("3.inner.2").weight.mul_(1e-6)  # type: ignore[operator, union-attr]
        return model

    assert searching.subject_of(tmp_path, build).grounds[1].out == ("3",)


def test_widths_are_free_where_a_ground_still_has_them(tmp_path: Path) -> None:
    first, _, third = searching.subject_of(tmp_path).grounds
    # The stream, and the inside of each block.
    assert {group.units for group in first.coupled} == {searching.WIDE, searching.NARROW}
    assert len(first.coupled) == 3
    assert [group.units for group in third.coupled] == [searching.WIDE]


def test_without_leave_to_leave_out_there_is_one_ground(tmp_path: Path) -> None:
    (only,) = searching.subject_of(tmp_path, leave_out=False).grounds
    assert (only.out, only.blocks) == ((), 0)


def test_a_network_without_blocks_has_one_ground(tmp_path: Path) -> None:
    (only,) = searching.subject_of(tmp_path, searching.build_model).grounds
    assert (only.out, only.blocks) == ((), 0)


def test_of_many_blocks_only_some_numbers_are_looked_at(tmp_path: Path) -> None:
    found = searching.subject_of(tmp_path, many).grounds
    assert len(found) == grounds.MOST
    # Evenly spaced from none to all twenty.
    assert [len(ground.out) for ground in found] == [0, 2, 5, 8, 11, 14, 17, 20]


def test_the_order_of_blocks_is_not_sought_twice(tmp_path: Path) -> None:
    first = searching.subject_of(tmp_path).grounds[-1].out
    before = searching.findings(tmp_path)
    assert len(before) == 1
    assert searching.subject_of(tmp_path).grounds[-1].out == first
    assert searching.findings(tmp_path) == before


def test_earlier_steps_are_carried_out_on_every_ground_and_told_by_name(tmp_path: Path) -> None:
    of = searching.subject_of(tmp_path, base=LEAVE_ONE)
    (before,) = of.chain.before
    (gone,) = before.amounts
    assert gone in BLOCKS
    # One block is gone already, so the search may leave out the other one.
    assert [ground.out for ground in of.grounds] == [(), tuple(BLOCKS - {gone})]


def test_a_whole_recipe_gives_the_structure_that_was_measured(tmp_path: Path) -> None:
    of = searching.subject_of(tmp_path, base=LEAVE_ONE)
    kept = {group.name: 8 for group in of.grounds[1].coupled}
    shape = subject.Shape(1, kept)
    built = of.structure(shape).model
    made = of.copy()
    schedule.prune(made, of.training, of.recipe_for(shape), task=of.task, seed=of.seed)
    shapes = [{name: t.shape for name, t in m.state_dict().items()} for m in (built, made)]
    assert shapes[0] == shapes[1]


def test_a_network_with_nothing_to_choose_is_refused_with_the_reasons(tmp_path: Path) -> None:
    base = recipe.Recipe(criterion="magnitude", align=64)
    with pytest.raises(errors.PruningError, match="'0' has 32 units, no more than one step"):
        searching.subject_of(tmp_path, searching.build_model, base)
