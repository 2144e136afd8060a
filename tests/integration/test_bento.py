"""A bento is built for real, and served from an environment that has no torch and no Evidently.

The environment is that of the server image, made by the steps of its Containerfile; without a way
to install packages these tests are skipped, with pip's reason.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import registry, runtime
from coppice_cli import baking
from tests.support import artifacts, house, serving, slim

pytestmark = pytest.mark.slow

HEAVY = ["torch", "evidently", "matplotlib", "sklearn", "scipy", "pandas", "onnx", "pip"]
OPTIONAL = {"grpc", "kafka", "pyarrow", "opentelemetry.exporter", "yaml"}
"""What an extra brings; a module that needs it says so when it is asked for."""
IMPORTS = """
import importlib, json, pkgutil, sys
lacking = {}
for package in ("coppice", "service"):
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        if not found.name.endswith("__main__"):
            try:
                importlib.import_module(found.name)
            except ModuleNotFoundError as cause:
                lacking[found.name] = cause.name
json.dump(lacking, sys.stdout)
"""
ROWS = artifacts.rows(3)


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bento, built by BentoML's own command in a home of its own."""
    home = tmp_path_factory.mktemp("bentos")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "bentoml"), "build"],
        cwd=house.ROOT,
        env=slim.variables(BENTOML_HOME=str(home)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = home / "bentos" / "coppice"
    return store / (store / "latest").read_text().strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    project = serving.project(tmp_path_factory.mktemp("project"))
    store = registry.open_registry(project.tree)
    store.point(serving.MODEL, {"champion": project.champion})
    return project


@pytest.fixture(scope="module")
def scores(made: serving.Project) -> Any:
    """What the champion answers to `ROWS`, by the runtime in this process."""
    return runtime.Runtime(made.path(made.champion)).predict({"x": ROWS}).scores


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server image has below /opt/coppice."""
    folder = tmp_path_factory.mktemp("opt")
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("coppice", "service"):
        shutil.copytree(house.ROOT / package, folder / package, ignore=ignore)
    return folder


@contextlib.contextmanager
def started(argv: list[str], folder: Path, port: int, **env: str) -> Iterator[serving.Server]:
    output = folder / f"server-{port}.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=slim.variables(**env),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    running = serving.Server(process, f"http://127.0.0.1:{port}", output)
    try:
        running.wait_until(lambda: serving.is_ready(running))
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def served(
    bento: Path,
    made: serving.Project,
    slim_environment: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[serving.Server]:
    """The bento, served by the slim environment's own BentoML."""
    port = serving.free_port()
    argv = [str(slim_environment / "bin" / "python"), "-m", "bentoml", "serve", str(bento)]
    argv += ["--host", "127.0.0.1", "--port", str(port)]
    folder = tmp_path_factory.mktemp("bento-home")
    project = str(made.tree.root)
    with started(argv, folder, port, BENTOML_HOME=str(folder), COPPICE_PROJECT=project) as running:
        yield running


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_bento_holds_the_kernel_and_the_data_plane_and_nothing_else(bento: Path) -> None:
    held = {name.split("/")[0] for name in files_below(bento / "src")}
    assert held == {"coppice", "service", "deploy", "bentofile.yaml"}
    assert files_below(bento / "src" / "deploy") == {"images/server-requirements.txt"}
    assert (bento / "src" / "coppice" / "eventlog" / "queries.sql").is_file()


def test_a_bento_asks_for_the_pins_of_the_server_image(bento: Path) -> None:
    pins = (house.ROOT / "deploy" / "images" / "server-requirements.txt").read_text()
    wanted = {line for line in pins.splitlines() if "==" in line}
    asked = (bento / "env" / "python" / "requirements.txt").read_text()
    assert {line for line in asked.splitlines() if "==" in line} == wanted


def test_a_bento_brings_no_model_unless_one_is_baked_in(bento: Path) -> None:
    assert not [name for name in files_below(bento) if name.endswith(".onnx")]


def test_the_environment_has_nothing_for_learning_or_judging(slim_environment: Path) -> None:
    program = f"import importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])"
    argv = [str(slim_environment / "bin" / "python"), "-c", program]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_module_of_the_server_is_imported_there_but_those_of_extras(
    slim_environment: Path, app: Path
) -> None:
    argv = [str(slim_environment / "bin" / "python"), "-c", IMPORTS]
    done = subprocess.run(
        argv, cwd=app, env=slim.variables(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout).values()) <= OPTIONAL


def test_the_bento_answers_in_json_as_the_runtime_does(
    served: serving.Server, made: serving.Project, scores: Any
) -> None:
    reply = served.ask(serving.INFER, serving.infer_body(ROWS.tolist()))
    assert (reply.status, reply.headers["x-coppice-version"]) == (200, made.champion)
    answered = np.array(reply.json["outputs"][0]["data"]).reshape(3, 2)
    assert np.allclose(answered, scores, atol=1e-6)


def test_the_bento_answers_through_its_typed_door(served: serving.Server, scores: Any) -> None:
    reply = served.ask("/predict", json.dumps({"inputs": {"x": ROWS.tolist()}}).encode())
    assert np.allclose(reply.json["scores"], scores, atol=1e-6)


def test_a_label_for_the_bentos_answer_is_taken(served: serving.Server) -> None:
    served.ask(serving.INFER, serving.infer_body(id="bento-1"))
    body = json.dumps({"request_id": "bento-1", "label": 1}).encode()
    assert served.ask("/feedback", body).status == 200


def test_the_images_program_serves_a_baked_version_and_writes_nothing_beside_itself(
    slim_environment: Path, app: Path, made: serving.Project, tmp_path: Path, scores: Any
) -> None:
    baked, state, port = tmp_path / "baked", tmp_path / "state", serving.free_port()
    tag = baking.bake(made.tree, baked, "champion")
    before = files_below(app) | files_below(baked)
    env = {
        "PYTHONPATH": str(app),
        "HOME": str(state),
        "TMPDIR": str(state),
        "COPPICE_BAKED": str(baked),
        "COPPICE_PROJECT": str(state),
        "COPPICE_SERVE__PORT": str(port),
    }
    state.mkdir()
    argv = [str(slim_environment / "bin" / "python"), "-m", "service"]
    with started(argv, state, port, **env) as running:
        reply = running.ask(serving.INFER, serving.infer_body(ROWS.tolist()))
        assert running.stop() == 0
    assert reply.headers["x-coppice-version"] == tag
    answered = np.array(reply.json["outputs"][0]["data"]).reshape(3, 2)
    assert np.allclose(answered, scores, atol=1e-6)
    assert files_below(app) | files_below(baked) == before
