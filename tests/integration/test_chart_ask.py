"""What `helm test` runs in a cluster, run against a server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from coppice import records
from tests.support import chart, serving

pytestmark = pytest.mark.slow

SCRIPT = chart.FOLDER / "files" / "tests" / "ask.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    fields = {"port": serving.free_port()}
    return serving.project(tmp_path_factory.mktemp("asked"), serve=fields)


@pytest.fixture(scope="module")
def running(made: serving.Project) -> Iterator[serving.Server]:
    with serving.server(made) as started:
        yield started


def ask(server: str, model: str, patience: str = "20") -> subprocess.CompletedProcess[str]:
    """Run the script as its pod does, with nothing but Python's own library."""
    return subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT],
        env={"SERVER": server, "MODEL": model, "PATIENCE": patience},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_server_that_serves_passes_and_its_answer_is_told(
    made: serving.Project, running: serving.Server
) -> None:
    done = ask(running.url, serving.MODEL)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{serving.MODEL} ")
    assert '"label"' in done.stdout
    log = made.log
    assert len(serving.stored(log, records.Prediction)) == 1
    log.close()


def test_another_model_fails(running: serving.Server) -> None:
    done = ask(running.url, "another")

    assert done.returncode == 1
    assert "404" in done.stderr


def test_a_server_that_is_not_there_fails_once_patience_is_over() -> None:
    done = ask(f"http://127.0.0.1:{serving.free_port()}", serving.MODEL, patience="0")

    assert done.returncode == 1
    assert "refused" in done.stderr
