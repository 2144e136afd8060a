"""A search in processes of its own: killed and gone on with, two at once, and by the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coppice_cli import main
from retrain.pruning import recipe
from tests.support import searching

COMMAND = (sys.executable, "-m", "tests.support.searching")
PROJECT = """\
from tests.support.searching import build_model, load_data
"""
SETTINGS = """\
[project]
name = "m"
[train]
epochs = 8
learning_rate = 0.02
[prune]
criterion = "magnitude"
learning_rate = 0.01
[search]
target = "macs"
structures = 9
"""


def begin(folder: Path, target: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [*COMMAND, str(folder), target], stdout=subprocess.PIPE, env=environment
    )


def wait_for(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while len(searching.findings(folder)) < count and process.poll() is None:
        time.sleep(0.005)


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, other = tmp_path / "killed", tmp_path / "whole"
    with begin(folder, "macs") as process:
        wait_for(folder, 3, process)
        process.kill()
    assert process.returncode == -9
    before = searching.findings(folder)
    assert len(before) >= 3
    found = searching.search(folder, structures=3)
    after = searching.findings(folder)
    assert before.items() <= after.items()
    assert len(after) > len(before)
    # The same as one that was never stopped.
    assert found.entries == searching.search(other, structures=3).entries


def test_two_searches_at_once_share_one_table(tmp_path: Path) -> None:
    with begin(tmp_path, "latency") as first, begin(tmp_path, "latency") as second:
        told = [process.communicate()[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    # Two timings of a structure are never equal to the last digit: each was timed once.
    assert json.loads(told[0]) == json.loads(told[1])
    assert len(json.loads(told[0])) == 3


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "searched.py").write_text(PROJECT, encoding="utf-8")
    text = SETTINGS.replace('name = "m"', 'name = "m"\nmodule = "searched"')
    (tmp_path / "coppice.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_a_recipe_that_prune_can_take(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.invoke(["search", "--max-drop", "0.05", "--max-slice-drop", "0.2"]) == 0
    told = capsys.readouterr().out
    assert "than dense in the same runtime" in told
    assert "times fewer MACs" in told
    page = (project / ".coppice/search/search.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3  # scores and costs, widths, sensitivity
    assert "Widths of m" in page
    written = recipe.Recipe.from_json((project / ".coppice/search/recipe.json").read_bytes())
    assert set(written.amounts) == {"0", "3"}
    assert main.invoke(["search", "--sensitivity", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)
    assert {point["group"] for point in points} == {"0", "3"}
    # No network of these widths is a hundred times cheaper: exit code 4, and the best is named.
    assert main.invoke(["search", "--at-least", "100"]) == 4
    problem = capsys.readouterr().err
    assert "no width reaches 100.0 times" in " ".join(problem.split())
    assert "the best is 6.00 times less multiply-accumulates" in " ".join(problem.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--target", "watts"], "target: "),
        (["--at-least", "0.5"], "--at-least is 0.5"),
        (["--max-drop", "2"], "max_drop: "),
    ],
)
def test_a_wish_that_cannot_be_is_refused_with_the_reason(
    words: list[str], told: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del project
    assert main.invoke(["search", *words]) == 2
    assert told in capsys.readouterr().err
