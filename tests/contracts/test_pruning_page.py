"""The page on pruning tells the truth: its recipes are read and carried out, its names are real."""

from __future__ import annotations

import re
import tomllib

import pytest

from coppice import settings
from retrain.pruning import criteria, recipe, schedule, surgery
from tests.support import architectures, matrix

TEXT = matrix.PAGE.read_text(encoding="utf-8")
NET = architectures.ARCHITECTURES["residual-cnn"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def carried_out(plan: recipe.Recipe) -> surgery.Surgery:
    return schedule.prune(NET.model(), NET.data().train, plan, task=NET.task, seed=0)


def levels(record: surgery.Surgery) -> set[str]:
    found = {"layer": record.removed, "neuron": record.cuts, "connection": record.masks}
    return {level for level, removed in found.items() if removed}


@pytest.mark.parametrize("text", blocks("json"))
def test_the_recipes_in_json_can_be_carried_out(text: str) -> None:
    plan = recipe.Recipe.from_json(text)
    assert levels(carried_out(plan)) == {step.level for step in plan.steps}


@pytest.mark.parametrize("text", blocks("toml"))
def test_the_recipes_in_settings_can_be_carried_out(text: str) -> None:
    section = settings.PruneSettings(**tomllib.loads(text)["prune"])
    plan = recipe.Recipe.from_settings(section)
    assert levels(carried_out(plan)) == {"layer", "neuron"}


def test_there_are_examples_of_both() -> None:
    assert (len(blocks("json")), len(blocks("toml"))) == (2, 1)


def test_every_criterion_and_level_is_on_the_page() -> None:
    named = re.findall(r"^\| `([a-z0-9-]+)` \| (?!yes \||no \()", TEXT, re.MULTILINE)
    assert set(named) == {"level", "criterion", *criteria.names(), *recipe.LEVELS}


def test_the_order_of_an_example_is_the_order_of_the_levels() -> None:
    plan = recipe.Recipe.from_json(blocks("json")[1])
    record = carried_out(plan)
    assert record.removed == (surgery.Removed("blocks.2"),)
    assert not [mask for mask in record.masks if mask.tensor.startswith("blocks.2")]
