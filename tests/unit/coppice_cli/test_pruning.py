from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coppice import errors, project, records, settings
from coppice.testing import MemoryLog
from coppice_cli import pruning
from tests.support import command_line

SECTION = settings.PruneSettings(criterion="taylor", amount=0.5, finetune_epochs=7)


def _project(tmp_path: Path) -> project.Project:
    split = project.Split(
        inputs={"x": np.zeros((4, 2), dtype=np.float32)}, targets=np.array([0, 1, 0, 1])
    )
    data = project.Data(train=split, validation=split, holdout=split, classes=("no", "yes"))
    tree = command_line.project(tmp_path, 'task = "binary"')
    return project.Project(settings=tree, build_model=lambda: None, load_data=lambda: data)


def test_without_wishes_the_recipe_is_that_of_the_settings() -> None:
    plan = pruning.recipe_of(pruning.Wish(), SECTION)
    assert (plan.criterion, plan.amount, plan.finetune_epochs) == ("taylor", 0.5, 7)


def test_wishes_change_the_recipe() -> None:
    wish = pruning.Wish(criterion="random", amount=0.9, recovery=False)
    plan = pruning.recipe_of(wish, SECTION)
    assert (plan.criterion, plan.amount, plan.finetune_epochs) == ("random", 0.9, 0)


def test_wishes_go_into_the_first_step_of_a_chain(tmp_path: Path) -> None:
    (tmp_path / "chain.json").write_text('{"then": [{"level": "connection", "amount": 0.7}]}')
    wish = pruning.Wish(
        recipe=tmp_path / "chain.json", scope="global", schedule="gradual", rounds=4, amount=0.25
    )
    plan = pruning.recipe_of(wish, SECTION)
    assert (plan.scope, plan.dues[-1], len(plan.dues)) == ("global", 1.0, 4)
    assert [(step.level, step.amount) for step in plan.steps] == [
        ("neuron", 0.25),
        ("connection", 0.7),
    ]


def test_a_level_can_be_wished_for() -> None:
    assert pruning.recipe_of(pruning.Wish(level="connection"), SECTION).level == "connection"


def test_a_file_takes_the_place_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "mild.json").write_text('{"amount": 0.1}')
    plan = pruning.recipe_of(pruning.Wish(recipe=tmp_path / "mild.json"), SECTION)
    # What the file leaves out are the defaults of a recipe, not those of the settings.
    assert (plan.amount, plan.finetune_epochs) == (0.1, 10)


def test_a_wish_goes_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "mild.json").write_text('{"amount": 0.1}')
    wish = pruning.Wish(recipe=tmp_path / "mild.json", amount=0.2)
    assert pruning.recipe_of(wish, SECTION).amount == 0.2


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.PruningError, match="cannot be read"):
        pruning.recipe_of(pruning.Wish(recipe=tmp_path / "none.json"), SECTION)


def test_a_misspelt_field_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "typo.json").write_text('{"amuont": 0.1}')
    with pytest.raises(errors.PruningError, match="'amount'"):
        pruning.recipe_of(pruning.Wish(recipe=tmp_path / "typo.json"), SECTION)


def test_an_amount_outside_its_range_is_an_error() -> None:
    with pytest.raises(errors.PruningError, match="amount is 1"):
        pruning.recipe_of(pruning.Wish(amount=1.0), SECTION)


def test_the_request_carries_what_was_wished(tmp_path: Path) -> None:
    wish = pruning.Wish(force=True, reason="try it", recover_on="pen=ink")
    request = pruning.request_of(wish, _project(tmp_path), MemoryLog())
    assert (request.force, request.reason, request.recover_on) == (True, "try it", "pen=ink")
    assert request.production is None
    assert request.cause == "manual"


def test_without_a_reason_it_was_asked_for_by_hand(tmp_path: Path) -> None:
    request = pruning.request_of(pruning.Wish(), _project(tmp_path), MemoryLog())
    assert request.reason == "asked for by hand"


def test_labelled_production_rows_are_collected_on_demand(tmp_path: Path) -> None:
    log = MemoryLog()
    prediction = records.Prediction(
        request_id="r",
        model=command_line.MODEL,
        version="tiny:a",
        lane="stable",
        propensity=1.0,
        key_hash="k",
        inputs={"x": records.Tensor.of(np.ones((1, 2), dtype=np.float32))},
        latency_seconds=0.001,
    )
    feedback = records.Feedback(
        request_id="r", model=command_line.MODEL, labels=("yes",), labelled_at=1.0
    )
    log.append([records.seal(record, source="test", now=1.0) for record in (prediction, feedback)])
    request = pruning.request_of(pruning.Wish(production=True), _project(tmp_path), log)
    assert request.production is not None
    assert request.production.rows == 1
