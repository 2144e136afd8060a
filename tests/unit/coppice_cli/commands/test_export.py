from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from coppice import errors, settings
from coppice.registry import open_registry
from tests.support import packable
from tests.support.command_line import Call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a dense parent and a pruned version, the alias `candidate` on it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / settings.FILE).write_text(
        '[project]\nname = "digits"\nmodule = "tests.support.digits"\n', encoding="utf-8"
    )
    made = packable.versions(folder / "made")
    registry = open_registry(settings.load(folder))
    for tag in (made.parent, made.pruned):
        registry.add(made.registry.path(tag))
    registry.point("digits", {"candidate": made.pruned})
    return folder


def test_one_line_says_where_it_lies_and_what_it_costs(call: Call, folder: Path) -> None:
    result = call("export", "candidate", "--format", "onnx", "-C", folder)
    assert result.code == 0, result.err
    (line,) = result.out.splitlines()
    path, _, rest = line.partition(": ")
    assert Path(path).is_file()
    assert Path(path).parent.parent == folder / ".coppice" / "exports"
    assert "(1.00 of the registered graph, 0." in rest
    assert "times as fast as the registered graph (between " in rest
    assert "times as fast as the dense parent (between " in rest
    assert rest.endswith("on 400 rows (largest difference 0, 0.00 points of score lost)")


def test_another_program_gets_the_figures_as_json(call: Call, folder: Path, tmp_path: Path) -> None:
    result = call("export", "candidate", "--format", "pt2", "-o", tmp_path, "--json", "-C", folder)
    found = json.loads(result.out)
    assert found["path"] == str(tmp_path / "digits-fp32.pt2")
    assert found["gap"] <= 1e-4
    assert set(found["registered"]) == {"version", "size_ratio", "latency"}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["nobody", "--format", "onnx"], errors.UnknownVersion.exit_code, "nobody"),
        (["candidate", "--format", "pt2", "--precision", "int8"], 2, "written in fp32, not in"),
        (["candidate", "--format", "onnx", "--precision", "bf16"], 2, "fp32 or int8, not in bf16"),
        (["candidate", "--format", "tflite"], 2, "tflite"),
        (["candidate"], 2, "--format"),
    ],
)
def test_what_cannot_be_written_is_refused(
    call: Call, folder: Path, words: list[str], code: int, text: str
) -> None:
    result = call("export", *words, "-C", folder)
    assert result.code == code
    assert text in result.err


def test_without_the_extra_it_says_what_to_install(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    result = call("export", "candidate", "--format", "openvino", "-C", folder)
    assert result.code == errors.EngineMissing.exit_code
    assert "pip install 'coppice[openvino]'" in result.err


def test_a_folder_that_cannot_be_made_is_a_problem_of_the_machine(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = call("export", "candidate", "--format", "onnx", "-o", tmp_path / "file", "-C", folder)
    assert result.code == errors.EnvironmentProblem.exit_code
    assert "nothing can be written to" in result.err
