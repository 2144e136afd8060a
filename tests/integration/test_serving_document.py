"""Every example of docs/serving.md, run against the real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import records
from tests.support import house, serving

pytestmark = pytest.mark.slow

TEXT = (house.ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    fields = {"port": serving.free_port(), "grpc_port": serving.free_port()}
    return serving.project(tmp_path_factory.mktemp("documented"), serve=fields)


@pytest.fixture(scope="module")
def running(made: serving.Project) -> Iterator[serving.Server]:
    with serving.server(made) as started:
        yield started


def run(made: serving.Project, *program: str, text: str) -> str:
    """Run an example with the ports of this server, and return what it prints."""
    serve = made.tree.serve
    there = text.replace("localhost:3000", f"127.0.0.1:{serve.port}")
    there = there.replace("localhost:3004", f"127.0.0.1:{serve.grpc_port}")
    done = subprocess.run(
        [*program, "-c", there], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_document_has_the_examples_that_are_run_here() -> None:
    assert (len(SHELL), len(PYTHON)) == (3, 2)


def test_the_shell_examples_answer_and_take_a_label(
    made: serving.Project, running: serving.Server
) -> None:
    assert running.process.poll() is None
    in_json, in_bytes, label = (json.loads(run(made, "bash", text=one)) for one in SHELL)
    assert [one["name"] for one in in_json["outputs"]] == ["label"]
    assert in_json["outputs"][0]["data"] == [1, 0]
    assert in_bytes["outputs"][1]["data"] == [1]
    assert label == {"accepted": True, "request_id": "curl-1"}


@pytest.mark.parametrize(("place", "request_id"), [(0, "http-1"), (1, "grpc-1")])
def test_the_python_examples_print_the_labels(
    made: serving.Project, running: serving.Server, place: int, request_id: str
) -> None:
    assert running.process.poll() is None
    assert run(made, sys.executable, text=PYTHON[place]) == "[1 0]\n"
    log = made.log
    stored = [one.request_id for one in serving.stored(log, records.Prediction)]
    log.close()
    assert request_id in stored


def paths(text: str) -> set[str]:
    """The paths of a text, without what is optional or named by the user."""
    found = re.findall(r"`(?:GET|POST) (/[^`]*)`", text)
    return {path.replace("[/versions/VERSION]", "") for path in found}


def test_the_table_names_each_published_path(running: serving.Server) -> None:
    published = {
        path.replace("{model}", "MODEL")
        for path in running.ask("/openapi.json").json["paths"]
        if "{version}" not in path
    }
    assert paths(TEXT) == published


def test_the_names_of_this_document_are_those_of_the_settings(tmp_path: Path) -> None:
    tree = serving.project(tmp_path).tree
    named = re.findall(r"`serve\.([a-z_]+)`", TEXT)
    assert set(named) <= set(type(tree.serve).model_fields)
