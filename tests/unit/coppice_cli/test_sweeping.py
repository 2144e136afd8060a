from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from coppice import settings
from coppice_cli import sweeping
from retrain.pruning import recipe
from retrain.sweep import plan, run
from tests.support import command_line, sweeps

WANTED = plan.Plan(
    base=recipe.Recipe(), criteria=("taylor",), amounts=sweeps.AMOUNTS, seeds=sweeps.SEEDS
)


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    return command_line.project(tmp_path, "seed = 7", "[prune]", "finetune_epochs = 3")


def test_seeds_begin_with_the_projects_own(tree: settings.Settings) -> None:
    wish = sweeping.Wish(criteria="taylor", amounts="0.5", seeds=2)
    found = sweeping.plan_of(wish, tree)
    assert found.seeds == (7, 8)
    assert found.criteria == ("random", "taylor")
    assert found.base.finetune_epochs == 3


def test_a_level_goes_over_the_recipes(tree: settings.Settings, tmp_path: Path) -> None:
    file = tmp_path / "base.json"
    file.write_text('{"level": "neuron", "finetune_epochs": 1}')
    wish = sweeping.Wish(criteria="random", amounts="0.5", seeds=1, level="connection", recipe=file)
    found = sweeping.plan_of(wish, tree)
    assert (found.base.level, found.base.finetune_epochs) == ("connection", 1)


def test_the_screen_shows_score_and_speed_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = run.Result(sweeps.usual(), "finished")
    sweeping.show(result, WANTED, tmp_path, as_json=False)
    told = capsys.readouterr()
    (line,) = (line for line in told.out.splitlines() if line.split()[:2] == ["taylor", "50%"])
    assert line.split() == [
        "taylor",
        "50%",
        "96.5%",
        "3.00",
        "1.50x",
        "3.00x",
        "4.00x",
        "+1.0..+3.0",
    ]
    assert "bn-scale was refused: this network has no BatchNorm" in told.out
    assert "Better than random choice" in told.out
    assert told.err == f"wrote {tmp_path / 'sweep.html'}\n"


@pytest.mark.parametrize(
    ("ending", "text"), [("out of time", "The time is up: 2 "), ("interrupted", "Interrupted: 2 ")]
)
def test_a_sweep_that_was_cut_short_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: run.Ending, text: str
) -> None:
    found = sweeps.usual()
    part = msgspec.structs.replace(found, outcomes=found.outcomes[:-2])
    sweeping.show(run.Result(part, ending), WANTED, tmp_path, as_json=False)
    told = capsys.readouterr().err
    assert text in told
    assert "run it again to go on" in told


def test_other_programs_get_the_whole_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeping.show(run.Result(sweeps.usual(), "finished"), WANTED, tmp_path, as_json=True)
    tree = json.loads(capsys.readouterr().out)
    assert msgspec.convert(tree, type(sweeps.usual())) == sweeps.usual()
