from __future__ import annotations

from pathlib import Path

import pytest

from coppice import artifact, errors, registry, routing, settings
from coppice_cli import baking
from service import __main__ as program
from tests.support import command_line, scoring


def test_a_baked_project_serves_one_version_and_holds_no_log(tmp_path: Path) -> None:
    made = scoring.project(tmp_path / "project")
    tag = baking.bake(made.tree, tmp_path / "baked", made.candidate)
    baked = settings.load(tmp_path / "baked")
    store = registry.open_registry(baked)
    table = routing.load(baked.routing_path)
    assert store.tags("tiny") == [tag] == [made.candidate]
    assert store.aliases("tiny") == {"champion": tag}
    assert table is not None
    assert (table.champion, table.candidate) == (tag, None)
    assert artifact.verify(store.path(tag), tag).name == "tiny"
    assert not baked.log_path.exists()


def test_a_folder_that_is_there_is_left_alone(call: command_line.Call, tmp_path: Path) -> None:
    made = scoring.project(tmp_path / "project")
    assert call("bake", tmp_path, "-C", made.tree.root).code == 8


def test_state_elsewhere_cannot_be_baked(tmp_path: Path) -> None:
    made = scoring.project(tmp_path / "project", store={"home": str(tmp_path / "state")})
    with pytest.raises(errors.SettingsError, match=r"\[store\] home"):
        baking.bake(made.tree, tmp_path / "baked", "champion")


def test_a_baked_project_is_placed_once(tmp_path: Path) -> None:
    made = scoring.project(tmp_path / "project")
    baking.bake(made.tree, tmp_path / "baked", "champion")
    place = tmp_path / "state"
    program.place(place, tmp_path / "baked")
    (place / settings.FILE).write_text("mine")
    program.place(place, tmp_path / "baked")
    assert (place / settings.FILE).read_text() == "mine"
    assert (place / ".coppice" / "routing.json").is_file()
