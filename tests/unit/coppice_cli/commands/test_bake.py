"""`coppice bake`; what it writes is tried in tests/unit/coppice_cli/test_baking.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors, routing, settings
from tests.support import command_line, scoring, serving


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return scoring.project(tmp_path / "project")


def champion(folder: Path) -> str:
    table = routing.load(settings.load(folder).routing_path)
    assert table is not None
    return table.champion


def test_by_default_the_champion_is_baked_and_named(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    done = call("bake", tmp_path / "out", "-C", made.tree.root)
    assert (done.code, done.out) == (0, f"{made.champion} baked into {tmp_path / 'out'}\n")
    assert champion(tmp_path / "out") == made.champion


def test_another_version_is_baked_where_it_is_named(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    words = ("--version", made.candidate, "-C", made.tree.root)
    assert call("bake", tmp_path / "out", *words).code == 0
    assert champion(tmp_path / "out") == made.candidate


def test_a_version_that_there_is_not_leaves_no_folder(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    done = call("bake", tmp_path / "out", "--version", "ffffffffffff", "-C", made.tree.root)
    assert done.code == errors.UnknownVersion.exit_code
    assert not (tmp_path / "out").exists()
