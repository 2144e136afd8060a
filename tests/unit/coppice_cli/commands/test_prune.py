from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors
from retrain.pruning import criteria
from tests.support import command_line
from tests.support.command_line import Call

MODULE = "def build_model(): ...\ndef load_data(): ...\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    command_line.project(tmp_path, 'module = "project_to_prune"')
    (tmp_path / "project_to_prune.py").write_text(MODULE)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--amount", "1.5"], "amount is 1.5"),
        (["--criterion", "tailor"], "did you mean 'taylor'"),
        (["--level", "neurone"], "did you mean 'neuron'"),
        (["--scope", "globe"], "did you mean 'global'"),
        (["--schedule", "gradually"], "did you mean 'gradual'"),
        (["--rounds", "0"], "rounds is 0"),
        (["--recipe", "no-such-file.json"], "no-such-file.json cannot be read"),
    ],
)
def test_a_recipe_that_cannot_be_carried_out_is_refused_before_any_work(
    call: Call, folder: Path, words: list[str], text: str
) -> None:
    result = call("prune", "-C", folder, *words)
    assert result.code == errors.PruningError.exit_code
    assert text in result.err


def test_data_that_is_none_is_an_error_of_the_project(call: Call, folder: Path) -> None:
    result = call("prune", "-C", folder)
    assert result.code == errors.ProjectError.exit_code
    assert "load_data() returned NoneType" in result.err


def test_an_amount_that_is_no_number_is_wrong_usage(call: Call, folder: Path) -> None:
    assert call("prune", "-C", folder, "--amount", "half").code == 2


def test_the_help_names_every_criterion_that_there_is(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    told = " ".join(call("prune", "--help").out.split())
    assert ", ".join(criteria.names()) in told
