from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from coppice import errors
from retrain.pruning import recipe
from retrain.report import sweep_files
from retrain.sweep import plan, record
from tests.support import sweeps

WANTED = plan.Plan(
    base=recipe.Recipe(align=4), criteria=("taylor",), amounts=sweeps.AMOUNTS, seeds=sweeps.SEEDS
)


def test_all_files_lie_in_the_folder(tmp_path: Path) -> None:
    page = sweep_files.write(sweeps.usual(), WANTED, tmp_path / "new")
    assert page == tmp_path / "new" / "sweep.html"
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "recipe-taylor-50.json",
        "recipe-taylor-75.json",
        "score-and-speed-1.svg",
        "score-and-speed-32.svg",
        "sweep.html",
        "sweep.json",
        "sweep.md",
        "widths-taylor-50.svg",
        "widths-taylor-75.svg",
    ]


def test_the_record_can_be_read_again(tmp_path: Path) -> None:
    sweep_files.write(sweeps.usual(), WANTED, tmp_path)
    content = (tmp_path / "sweep.json").read_bytes()
    assert msgspec.json.decode(content, type=record.Sweep) == sweeps.usual()


def test_a_recipe_is_one_that_prune_takes(tmp_path: Path) -> None:
    sweep_files.write(sweeps.usual(), WANTED, tmp_path)
    found = recipe.Recipe.from_json((tmp_path / "recipe-taylor-75.json").read_bytes())
    assert found == recipe.Recipe(criterion="taylor", amount=0.75, align=4)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.EnvironmentProblem, match="the sweep cannot be written to"):
        sweep_files.write(sweeps.usual(), WANTED, tmp_path / "file")
