"""A newcomer follows the README from top to bottom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import house, pages, readme

pytestmark = pytest.mark.slow
NAME = "vision"


def run(*words: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "coppice_cli", *words]
    return subprocess.run(
        argv, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=900
    )


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    ports = {
        "COPPICE_SERVE__PORT": str(pages.free_port()),
        "COPPICE_MONITOR__PORT": str(pages.free_port()),
    }
    return {**os.environ, **ports}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    parent = tmp_path_factory.mktemp("newcomer")
    done = run("init", NAME, cwd=parent, env=environment)
    assert done.returncode == 0, done.stderr
    return parent / NAME


@pytest.fixture(scope="module")
def pruned(folder: Path, environment: dict[str, str]) -> str:
    done = run("prune", cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loop(
    pruned: str, folder: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "coppice_cli", "up"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until_ready(server(environment) + "/v2/health/ready")
    wait_until_ready(monitor(environment) + "/health")
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=180)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    pytest.fail(f"{url} did not get ready")


def server(environment: dict[str, str]) -> str:
    return f"http://127.0.0.1:{environment['COPPICE_SERVE__PORT']}"


def monitor(environment: dict[str, str]) -> str:
    return f"http://127.0.0.1:{environment['COPPICE_MONITOR__PORT']}"


def test_the_scaffold_passes_the_doctor(folder: Path, environment: dict[str, str]) -> None:
    done = run("doctor", cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scaffold_is_pruned_and_accepted(pruned: str) -> None:
    assert "accepted" in pruned


def test_the_endpoint_describes_the_model(
    loop: subprocess.Popen[bytes], environment: dict[str, str]
) -> None:
    described = httpx.get(f"{server(environment)}/v2/models/{NAME}").json()
    assert described["name"] == NAME
    assert {output["name"] for output in described["outputs"]} >= {"scores"}


def test_the_monitor_has_no_verdict_without_a_candidate(
    loop: subprocess.Popen[bytes], environment: dict[str, str]
) -> None:
    reply = httpx.get(f"{monitor(environment)}/v1/verdict", params={"model": NAME})
    assert reply.status_code == httpx.codes.OK
    assert reply.json()["verdict"] == "undecided"


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("rollout", "status"),
        ("labels", "wanted"),
        ("log", "stats"),
    ],
)
def test_the_commands_to_look_with_work_beside_the_running_loop(
    loop: subprocess.Popen[bytes],
    folder: Path,
    environment: dict[str, str],
    words: tuple[str, ...],
) -> None:
    done = run(*words, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


def test_a_second_loop_on_the_same_project_is_refused(
    loop: subprocess.Popen[bytes], folder: Path, environment: dict[str, str]
) -> None:
    done = run("up", cwd=folder, env=environment)
    assert done.returncode == 8
    assert "error:" in done.stderr


def test_every_command_that_the_readme_shows_exists() -> None:
    shown = {" ".join(words[1:2]) for words in readme.commands("coppice")}
    listed = run("--help", cwd=house.ROOT, env=dict(os.environ)).stdout
    missing = [name for name in shown if name not in listed]
    assert missing == []


def test_the_two_commands_of_the_readme_are_in_the_makefile() -> None:
    makefile = (house.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [words[1] for words in readme.commands("make")]
    assert targets == ["demo", "test"]
    assert all(f"\n{target}: setup" in makefile for target in targets)
