"""A recipe of several levels, written as values of the chart, is the one that retraining uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coppice import settings
from retrain.pruning import recipe
from tests.support import chart

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

PRUNE: dict[str, Any] = {
    "level": "layer",
    "criterion": "block-influence",
    "amount": 0.5,
    "amounts": {"blocks.2": 0.9, 'odd "name"': 0.0},
    "schedule": "gradual",
    "rounds": 2,
    "learning_rate": 5e-4,
    "then": [
        {"level": "neuron", "amount": 0.25, "amounts": {"stem.0": 0.125}, "scope": "global"},
        {"level": "connection", "criterion": "magnitude", "pattern": "2:4"},
    ],
}
WANTED = recipe.Recipe(
    level="layer",
    criterion="block-influence",
    amount=0.5,
    amounts={"blocks.2": 0.9, 'odd "name"': 0.0},
    schedule="gradual",
    rounds=2,
    learning_rate=5e-4,
    then=(
        recipe.Step(level="neuron", amount=0.25, amounts={"stem.0": 0.125}, scope="global"),
        recipe.Step(level="connection", criterion="magnitude", pattern="2:4"),
    ),
)


def rendered(prune: dict[str, Any], folder: Path) -> recipe.Recipe:
    found = chart.render(chart.changed("local", config__prune=prune)).objects
    (text,) = (
        each["data"]["coppice.toml"] for each in found if "coppice.toml" in (each.get("data") or {})
    )
    (folder / "coppice.toml").write_text(text, encoding="utf-8")
    return recipe.Recipe.from_settings(settings.load(folder).prune)


def test_the_steps_of_a_recipe_arrive_as_they_were_written(tmp_path: Path) -> None:
    assert rendered(PRUNE, tmp_path) == WANTED


def test_a_step_without_further_ones_arrives_too(tmp_path: Path) -> None:
    assert rendered({"amount": 0.3, "then": []}, tmp_path) == recipe.Recipe(amount=0.3)


def test_a_step_that_is_misspelt_is_refused_by_the_schema() -> None:
    misspelt = {**PRUNE, "then": [{"levle": "neuron"}]}
    with pytest.raises(Exception, match="levle"):
        chart.render(chart.changed("local", config__prune=misspelt))
