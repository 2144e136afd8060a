from __future__ import annotations

import json
from pathlib import Path

import pytest

from coppice import errors, records, settings
from tests.support import command_line
from tests.support.command_line import Call

PAUSE = records.Command(model="tiny", action="pause", actor="ada", reason="lunch")
VERDICT = records.Verdict(
    model="tiny", version="tiny:a", scope="champion", kind="healthy", reason="fine"
)


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    tree = command_line.project(tmp_path)
    command_line.keep(tree, PAUSE, VERDICT, PAUSE)
    return tree


def test_the_newest_events_are_lines_of_json(call: Call, tree: settings.Settings) -> None:
    lines = call("log", "tail", "-C", tree.root, "-n", "2").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events] == ["coppice.verdict.v1", "coppice.command.v1"]
    assert events[1]["record"] == {
        "model": "tiny",
        "action": "pause",
        "actor": "ada",
        "reason": "lunch",
    }


def test_one_kind_can_be_asked_for(call: Call, tree: settings.Settings) -> None:
    lines = call("log", "tail", "-C", tree.root, "--kind", "verdict").out.splitlines()
    assert [json.loads(line)["subject"] for line in lines] == ["tiny:a"]


def test_an_unknown_kind_names_the_known_ones(call: Call, tree: settings.Settings) -> None:
    result = call("log", "tail", "-C", tree.root, "--kind", "verdicts")
    assert result.code == errors.EventLogError.exit_code
    assert "known: candidate, command" in result.err


def test_events_are_counted_by_type(call: Call, tree: settings.Settings) -> None:
    rows = call("log", "stats", "-C", tree.root).out.splitlines()
    commands = next(row.split() for row in rows if "coppice.command.v1" in row)
    # Appended one second apart: the first and the third.
    assert commands == ["coppice.command.v1", "2", "2023-11-14T22:13:20", "2023-11-14T22:13:22"]


def test_counts_are_json_on_demand(call: Call, tree: settings.Settings) -> None:
    counted = json.loads(call("log", "stats", "-C", tree.root, "--json").out)
    assert counted["events"] == {"coppice.command.v1": 2, "coppice.verdict.v1": 1}
    assert counted["bytes"] > 0
    assert counted["path"] == str(tree.log_path)


def test_an_empty_log_has_nothing_to_show(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path)
    assert call("log", "tail", "-C", tmp_path) == (0, "", "")
