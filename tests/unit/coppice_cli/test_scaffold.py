from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from coppice import errors, labels, project, settings
from coppice_cli import scaffold

TASKS: list[labels.Task] = ["binary", "multiclass", "regression"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("digits", "digits"),
        ("My Digits (v2)", "my-digits-v2"),
        ("under_score", "under_score"),
        ("---", "model"),
        ("Größe", "gr-e"),
        ("x" * 80, "x" * 63),
    ],
)
def test_the_name_comes_from_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert scaffold.project_name(tmp_path / folder) == name


@pytest.mark.parametrize("folder", ["My Digits (v2)", "---", "x" * 80, "-a_", "9 lives"])
def test_every_derived_name_is_allowed(tmp_path: Path, folder: str) -> None:
    name = scaffold.project_name(tmp_path / folder)
    assert settings.ProjectSettings(name=name).name == name


@pytest.mark.parametrize("task", TASKS)
def test_the_settings_file_is_read_as_it_is(tmp_path: Path, task: labels.Task) -> None:
    scaffold.write(tmp_path / "mine", task)
    tree = settings.load(tmp_path / "mine")
    assert (tree.project.name, tree.project.task) == ("mine", task)


def test_what_is_commented_out_is_the_default(tmp_path: Path) -> None:
    text = scaffold.settings_file("mine", "multiclass")
    uncommented = "\n".join(
        line.removeprefix("# ")
        for line in text.splitlines()
        if " = " in line or line.startswith("[")
    )
    uncommented = uncommented.replace('checkpoint = "..."\n', "")
    kept = [line for line in uncommented.splitlines() if "COPPICE_" not in line]
    tree = tomllib.loads("\n".join(kept))
    built = settings.from_tree(tree, root=tmp_path)
    assert built == settings.from_tree({"project": tree["project"]}, root=tmp_path)


def test_every_setting_shown_has_its_meaning_above_it() -> None:
    lines = scaffold.settings_file("mine", "regression").splitlines()
    shown = [n for n, line in enumerate(lines) if line.startswith("# ") and " = " in line][1:]
    assert [lines[n - 1][:2] for n in shown] == ["# "] * len(shown)


@pytest.mark.parametrize("task", TASKS)
def test_the_project_fits_the_line_length_and_parses(tmp_path: Path, task: labels.Task) -> None:
    text = scaffold.files(tmp_path, task)["project.py"]
    ast.parse(text)
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("task", TASKS)
def test_the_project_is_clean_for_the_linter(tmp_path: Path, task: labels.Task) -> None:
    scaffold.write(tmp_path, task)
    linter = Path(sys.executable).parent / "ruff"
    rules = ["--isolated", "--select", "ALL", "--ignore", "ANN,INP,D203,D213,CPY,COM812,PLR2004"]
    command = [linter, "check", *rules, "--line-length", "100", "project.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("task", TASKS)
def test_the_scaffolded_data_keeps_the_contract(
    tmp_path: Path, task: labels.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / task
    scaffold.write(folder, task)
    # Each test has its own module of that name.
    (folder / "project.py").rename(folder / f"scaffold_{task}.py")
    monkeypatch.setenv("COPPICE_PROJECT__MODULE", f"scaffold_{task}")
    monkeypatch.setattr(sys, "path", [*sys.path])
    data = project.load_data(project.load(settings.load(folder)))
    assert data.holdout.rows >= 100
    assert len(data.holdout.slices) == 1


def test_the_readme_asks_for_as_many_values_as_the_model_takes(tmp_path: Path) -> None:
    text = scaffold.files(tmp_path / "mine", "regression")["README.md"]
    assert '"shape": [1, 10], "data": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]' in text
    assert "/v2/models/mine/infer" in text


def test_an_existing_project_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text("mine = True\n")
    with pytest.raises(errors.ProjectError, match=r"holds project\.py already"):
        scaffold.write(tmp_path, "binary")
    assert [path.name for path in tmp_path.iterdir()] == ["project.py"]


def test_a_readme_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine\n")
    written = scaffold.write(tmp_path, "binary")
    assert (tmp_path / "README.md").read_text() == "mine\n"
    assert tmp_path / "README.md" not in written


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.ProjectError, match="cannot write to"):
        scaffold.write(tmp_path / "file" / "below", "binary")
