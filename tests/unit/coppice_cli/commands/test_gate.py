from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from coppice import errors
from tests.support import cards, command_line
from tests.support.command_line import Call

REFUSED = errors.GateRefused.exit_code


@pytest.fixture
def tags(tmp_path: Path) -> dict[str, str]:
    tree = command_line.project(tmp_path)
    return cards.shelve(
        tree, tmp_path / "made", good=cards.harmless(), bad=cards.harmful(status="forced")
    )


def test_a_version_that_passes_ends_well(call: Call, tmp_path: Path, tags: dict[str, str]) -> None:
    result = call("gate", "-C", tmp_path, tags["good"])
    assert result.code == 0, result.err
    assert f"{tags['good']} passed" in result.out
    assert "not judged, because not measured: privacy, fairness" in result.out


def test_a_refused_version_stops_a_pipeline_even_where_it_was_forced(
    call: Call, tmp_path: Path, tags: dict[str, str]
) -> None:
    result = call("gate", "-C", tmp_path, tags["bad"])
    assert result.code == REFUSED == 4
    assert "gate 'score': a drop of 8.00 points" in result.out
    assert f"{tags['bad']} refused" in result.out


def test_the_gates_of_today_judge_not_those_of_then(
    call: Call, tmp_path: Path, tags: dict[str, str]
) -> None:
    command_line.project(tmp_path, "[gates]", "min_score = 0.99")
    result = call("gate", "-C", tmp_path, tags["good"], "--format", "json")
    assert result.code == REFUSED
    assert json.loads(result.out)["refused"] == ["min score"]


def test_a_pipeline_reads_json(call: Call, tmp_path: Path, tags: dict[str, str]) -> None:
    found = json.loads(call("gate", "-C", tmp_path, tags["bad"], "--format", "json").out)
    assert (found["version"], found["passed"]) == (tags["bad"], False)
    assert found["refused"] == ["score", "slice pen=ink"]


def test_a_pipeline_reads_junit(call: Call, tmp_path: Path, tags: dict[str, str]) -> None:
    result = call("gate", "-C", tmp_path, tags["bad"], "--format", "junit")
    assert result.code == REFUSED
    suite = ET.fromstring(result.out).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "2"


def test_github_shows_each_refusal_as_an_error(
    call: Call, tmp_path: Path, tags: dict[str, str]
) -> None:
    result = call("gate", "-C", tmp_path, tags["bad"], "--format", "github")
    assert result.code == REFUSED
    errors_shown = [line for line in result.out.splitlines() if line.startswith("::error ")]
    assert len(errors_shown) == 2


def test_a_format_that_there_is_not_is_wrong_usage(
    call: Call, tmp_path: Path, tags: dict[str, str]
) -> None:
    assert call("gate", "-C", tmp_path, tags["good"], "--format", "yaml").code == 2


def test_a_dense_parent_cannot_be_judged(call: Call, tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    judged = cards.harmless().evaluation
    bare = type(judged)(
        holdout=type(judged.holdout)(rows=9, columns={"parent": {"score": 1.0}}, yardstick="parent")
    )
    tags = cards.shelve(tree, tmp_path / "made", dense=cards.harmless(evaluation=bare))
    result = call("gate", "-C", tmp_path, tags["dense"])
    assert result.code == errors.UnknownVersion.exit_code
    assert "is a dense parent" in result.err
