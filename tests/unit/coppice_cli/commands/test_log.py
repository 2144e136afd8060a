from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pandas as pd
import pytest

from coppice import errors, records, settings
from coppice.eventlog.sqlite import SqliteLog
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


def test_all_events_are_exported_as_lines_of_json(
    call: Call, tree: settings.Settings, tmp_path: Path
) -> None:
    target = tmp_path / "events.jsonl"
    result = call("log", "export", target, "-C", tree.root)
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["type"] for row in rows] == [
        "coppice.command.v1",
        "coppice.verdict.v1",
        "coppice.command.v1",
    ]
    assert result.code == 0
    assert "3 events written" in result.err


def test_an_export_to_standard_output_has_nothing_else_in_it(
    call: Call, tree: settings.Settings
) -> None:
    result = call("log", "export", "-", "-C", tree.root, "--kind", "verdict")
    assert [json.loads(line)["subject"] for line in result.out.splitlines()] == ["tiny:a"]


def test_who_stops_reading_an_export_is_no_error_of_ours(
    call: Call, tree: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up(*_: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("coppice_cli.export.json_lines", hang_up)
    result = call("log", "export", "-", "-C", tree.root)
    assert (result.code, result.err) == (1, "")


@pytest.mark.parametrize("limit", ["0", "-5", "1000001", "99999999999999999999999"])
def test_a_limit_that_is_none_is_refused(call: Call, tree: settings.Settings, limit: str) -> None:
    assert call("log", "tail", "-C", tree.root, "--limit", limit).code == 2


def test_an_export_can_be_bounded_in_time(call: Call, tree: settings.Settings) -> None:
    # The three events are of 22:13:20, :21 and :22.
    words = ("--since", "2023-11-14T22:13:21", "--until", "2023-11-14T22:13:22")
    rows = call("log", "export", "-", "-C", tree.root, *words).out.splitlines()
    assert [json.loads(row)["type"] for row in rows] == ["coppice.verdict.v1"]


def test_parquet_goes_to_a_file_only(call: Call, tree: settings.Settings, tmp_path: Path) -> None:
    target = tmp_path / "events.parquet"
    assert call("log", "export", target, "-C", tree.root, "--format", "parquet").code == 0
    assert len(pd.read_parquet(target)) == 3
    refused = call("log", "export", "-", "-C", tree.root, "--format", "parquet")
    assert "name a file" in refused.err


def test_a_file_that_cannot_be_written_is_named(
    call: Call, tree: settings.Settings, tmp_path: Path
) -> None:
    result = call("log", "export", tmp_path / "no" / "where", "-C", tree.root)
    assert result.code == errors.EnvironmentProblem.exit_code
    assert "cannot be written" in result.err


def test_a_replay_puts_the_events_into_another_log_once(
    call: Call, tree: settings.Settings, tmp_path: Path
) -> None:
    other = command_line.project(tmp_path / "other")
    for _ in range(2):
        assert (
            "3 events replayed" in call("log", "replay", "-C", tree.root, "--into", other.root).out
        )
    counted = json.loads(call("log", "stats", "-C", other.root, "--json").out)
    assert counted["events"] == {"coppice.command.v1": 2, "coppice.verdict.v1": 1}


def test_a_replay_into_itself_is_refused(call: Call, tree: settings.Settings) -> None:
    result = call("log", "replay", "-C", tree.root, "--into", tree.root)
    assert "name another one" in result.err


def test_readers_are_shown_and_can_be_forgotten(call: Call, tree: settings.Settings) -> None:
    with contextlib.closing(SqliteLog(tree.log_path)) as log:
        log.mark("relay", "2")
        log.mark("monitor", "")
    shown = call("log", "stats", "-C", tree.root).out
    assert "relay has read up to 2" in shown
    assert "monitor has read up to the start" in shown
    assert call("log", "forget", "relay", "-C", tree.root).code == 0
    counted = json.loads(call("log", "stats", "-C", tree.root, "--json").out)
    assert counted["readers"] == {"monitor": ""}


def test_an_unknown_reader_cannot_be_forgotten(call: Call, tree: settings.Settings) -> None:
    assert "known: none" in call("log", "forget", "relay", "-C", tree.root).err
