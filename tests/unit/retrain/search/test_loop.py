from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from coppice import errors
from coppice.testing import ManualClock, MemoryRegistry
from retrain.pruning import groups, recipe, schedule
from retrain.search import loop, probes
from tests.support import searching


class Searched(NamedTuple):
    """A search, and the folder that remembers what it measured."""

    folder: Path
    found: loop.Found


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("searched")
    return Searched(folder, searching.search(folder))


def test_a_search_finds_widths_within_the_budget_and_their_recipe(searched: Searched) -> None:
    found = searched.found
    assert found.met
    assert found.chosen is not None
    chosen = found.entries[found.chosen]
    assert chosen.on_front
    assert chosen.probe is not None
    assert chosen.probe.expected.loss <= 0.05
    assert found.final is not None
    # The graph that was trained costs what the table said of its structure.
    assert found.final.cost.gain == chosen.cost.gain == pytest.approx(found.final.macs_ratio)
    assert found.recipe is not None
    left = {
        name: groups.kept_count(units, found.recipe.share(name), align=8)
        for name, units in found.units.items()
    }
    assert left == chosen.widths
    assert recipe.Recipe.from_json(found.recipe.to_json()) == found.recipe


def test_a_budget_that_nothing_meets_is_said_with_the_nearest(tmp_path: Path) -> None:
    # No width can be 0.9 better than the control, which is what this asks for.
    found = searching.search(tmp_path, budget=probes.Budget(drop=-0.9, slice_drop=1.0))
    assert not found.met
    assert found.chosen is not None
    drops = [each.probe.expected.loss for each in found.entries if each.probe is not None]
    chosen = found.entries[found.chosen].probe
    assert chosen is not None
    assert chosen.expected.loss == min(drops)


def test_a_cost_can_be_asked_for(tmp_path: Path) -> None:
    found = searching.search(tmp_path, at_least=3.0, budget=None)
    assert found.met
    assert found.final is not None
    assert found.final.cost.gain >= 3.0


def test_a_second_search_measures_nothing_again(searched: Searched) -> None:
    before = searching.findings(searched.folder)
    second = searching.search(searched.folder)
    assert searching.findings(searched.folder) == before
    assert second.entries == searched.found.entries
    assert second.chosen == searched.found.chosen


def test_another_budget_uses_what_is_known(searched: Searched) -> None:
    before = searching.findings(searched.folder)
    searching.search(searched.folder, budget=probes.Budget(drop=1.0, slice_drop=1.0))
    after = searching.findings(searched.folder)
    assert before.items() <= after.items()


def test_without_time_the_search_ends_cleanly_and_says_so(tmp_path: Path) -> None:
    # A clock that stands still would never end; with no minute at all it is over at once.
    found = loop.search(
        searching.own_of(tmp_path),
        MemoryRegistry(tmp_path / "versions"),
        searching.wish(minutes=0.0),
        timer=ManualClock(),
    )
    assert found.stopped
    assert found.chosen is None
    assert not found.met
    assert found.recipe is None


def test_a_chain_is_found_and_its_recipe_leaves_what_was_measured(tmp_path: Path) -> None:
    # Whatever it costs: blocks and widths go as far as they can.
    found = searching.search_deep(tmp_path, budget=probes.Budget(drop=1.0, slice_drop=1.0))
    assert found.met
    assert found.chosen is not None
    chosen = found.entries[found.chosen]
    assert (set(chosen.out), chosen.widths) == ({"2", "3"}, {"0": 8})
    # 4*32 + 2 * 2*32*16 + 32*2 = 2240 of the dense model, 4*8 + 8*2 = 48 of what is left.
    assert found.final is not None
    assert found.final.cost.gain == pytest.approx(2240 / 48)
    assert found.recipe is not None
    assert [step.level for step in found.recipe.steps] == ["layer", "neuron"]
    assert found.blocks == 2
    made = searching.build_deep()
    schedule.prune(made, searching.split(400), found.recipe, task="multiclass", seed=0)
    assert schedule.cost(made, searching.split(8)).macs == 48


def test_a_search_goes_on_on_top_of_a_recipe(tmp_path: Path) -> None:
    widths, zeros = (
        recipe.Step(criterion="magnitude"),
        recipe.Step(level="connection", criterion="magnitude", amount=0.25),
    )
    base = recipe.Recipe(
        level="layer",
        criterion="ablation",
        amount=0.5,
        then=(widths, zeros),
        learning_rate=0.01,
    )
    found = searching.search_deep(tmp_path, base=base, at_least=4.0, budget=None, structures=6)
    assert found.met
    assert found.recipe is not None
    # One block is gone before; whether the other one goes is the search's.
    assert found.blocks == 1
    levels = [step.level for step in found.recipe.steps]
    assert (levels[0], levels[-2:]) == ("layer", ["neuron", "connection"])
    assert found.recipe.steps[-1] == zeros
    assert list(found.recipe.steps[0].amounts.values()) == [0.9]
    assert found.recipe.finetune_epochs == base.finetune_epochs


def test_a_network_without_a_width_to_choose_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.PruningError, match="no width of this network can be chosen"):
        searching.search(tmp_path, base=recipe.Recipe(criterion="magnitude", align=64))
