from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import cards, command_line
from tests.support.command_line import Call


@pytest.fixture
def tags(tmp_path: Path) -> dict[str, str]:
    tree = command_line.project(tmp_path)
    return cards.shelve(tree, tmp_path / "made", good=cards.harmless(), bad=cards.harmful())


def test_two_versions_stand_side_by_side(call: Call, tmp_path: Path, tags: dict[str, str]) -> None:
    result = call("compare", "-C", tmp_path, tags["good"], tags["bad"])
    assert result.code == 0, result.err
    rows = [line.split() for line in result.out.splitlines()]
    assert ["A", tags["good"], "accepted"] in rows
    assert ["B", tags["bad"], "refused"] in rows
    assert ["score", "96.00%", "89.00%", "-7.00%", "worse"] in rows
    assert "fgsm score" not in result.out


def test_every_figure_is_shown_where_it_is_asked_for(
    call: Call, tmp_path: Path, tags: dict[str, str]
) -> None:
    result = call("compare", "-C", tmp_path, tags["good"], tags["bad"], "--all")
    assert "robustness: fgsm score" in result.out


def test_other_programs_get_every_figure_as_json(
    call: Call, tmp_path: Path, tags: dict[str, str]
) -> None:
    found = json.loads(call("compare", "-C", tmp_path, tags["good"], tags["bad"], "--json").out)
    assert (found["first"], found["second"]) == (tags["good"], tags["bad"])
    assert found["status"] == {"first": "accepted", "second": "refused"}
    figures = {figure["name"]: figure for figure in found["figures"]}
    assert figures["score"]["change"] == pytest.approx(-0.07)
    assert figures["gain"]["second"] is None
    assert "robustness: fgsm_score" in figures
