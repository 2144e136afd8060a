from __future__ import annotations

import json
from pathlib import Path

from tests.support import command_line
from tests.support.command_line import Call


def test_problems_end_with_1_and_say_how_to_mend_them(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path, 'module = "a_module_that_is_not_there"')
    result = call("doctor", "-C", tmp_path)
    assert result.code == 1
    assert "a_module_that_is_not_there" in " ".join(result.out.split())
    assert result.out.rstrip().splitlines()[-1].startswith("1 problem, ")


def test_json_lists_every_finding(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path, 'module = "a_module_that_is_not_there"')
    result = call("doctor", "-C", tmp_path, "--json")
    findings = json.loads(result.out)
    assert result.code == 1
    assert {"check", "level", "text", "remedy"} == set(findings[0])
    assert [found["check"] for found in findings if found["level"] == "problem"] == ["project"]


def test_without_settings_that_is_the_problem(call: Call, tmp_path: Path) -> None:
    result = call("doctor", "-C", tmp_path)
    assert result.code == 1
    assert "there is no coppice.toml" in " ".join(result.out.split())


def test_the_table_fits_80_columns(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path, 'module = "a_module_that_is_not_there"')
    lines = call("doctor", "-C", tmp_path).out.splitlines()
    assert max(len(line) for line in lines) <= 80
