"""Example 02 as its README tells it: train, prune, serve, ask, label, look, stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import pages

EXAMPLE = Path(__file__).parents[2] / "examples" / "02_your_own_model"
ROWS = 40

Done = subprocess.CompletedProcess[str]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {
        **os.environ,
        "COPPICE_SERVE__PORT": str(pages.free_port()),
        "COPPICE_MONITOR__PORT": str(pages.free_port()),
        # A busy machine times badly; the latency gate has tests of its own.
        "COPPICE_GATES__MIN_LATENCY_GAIN": "0.01",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "80",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("examples") / EXAMPLE.name
    shutil.copytree(EXAMPLE, where)
    return where


def _run(words: list[str], folder: Path, environment: dict[str, str]) -> Done:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def _coppice(folder: Path, environment: dict[str, str], *words: str) -> Done:
    return _run(["-P", "-m", "coppice_cli", *words], folder, environment)


@pytest.fixture(scope="module")
def trained(folder: Path, environment: dict[str, str]) -> Done:
    return _run(["train.py"], folder, environment)


@pytest.fixture(scope="module")
def pruned(folder: Path, environment: dict[str, str], trained: Done) -> Done:
    assert trained.returncode == 0, trained.stderr
    return _coppice(folder, environment, "prune")


@pytest.fixture(scope="module")
def running(
    folder: Path, environment: dict[str, str], pruned: Done
) -> Iterator[subprocess.Popen[str]]:
    assert pruned.returncode == 0, pruned.stderr
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "coppice_cli", "up"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def _wait_for(folder: Path, environment: dict[str, str], what: Any) -> dict[str, Any]:
    """Look at the status again and again until it meets a condition, and return it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        seen = json.loads(_coppice(folder, environment, "status", "--json").stdout)
        if what(seen):
            return dict(seen)
    pytest.fail(f"not seen within two minutes; the last look: {seen}")


@pytest.fixture(scope="module")
def asked(folder: Path, environment: dict[str, str], running: subprocess.Popen[str]) -> Done:
    _wait_for(folder, environment, lambda seen: seen["rollout"] and _all_run(seen))
    server = f"http://127.0.0.1:{environment['COPPICE_SERVE__PORT']}"
    return _run(["ask.py", server, str(ROWS)], folder, environment)


def _all_run(seen: dict[str, Any]) -> bool:
    return [process["phase"] for process in seen["processes"]] == ["running"] * 4


def test_the_users_own_training_writes_the_checkpoint(trained: Done) -> None:
    assert "dense.safetensors" in trained.stdout


def test_a_checkpoint_is_pruned_and_accepted(pruned: Done) -> None:
    assert pruned.returncode == 0, pruned.stderr
    assert "accepted: it is rolled out as soon as" in pruned.stdout


def test_requests_with_two_inputs_are_answered_and_labelled(asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.endswith(f"of {ROWS} right\n")


def test_the_labels_are_seen_at_a_glance(
    folder: Path, environment: dict[str, str], asked: Done
) -> None:
    assert asked.returncode == 0, asked.stderr
    seen = _wait_for(
        folder,
        environment,
        lambda seen: (seen["versions"][0]["live"] or {}).get("count") == ROWS,
    )
    champion = seen["versions"][0]
    assert (champion["part"], champion["lane"]) == ("champion", "stable 100%")
    assert set(champion["slices"]) <= {"size=large", "size=small"}
    assert seen["source"] == "monitor"


def test_the_log_holds_every_answer_and_every_label(
    folder: Path, environment: dict[str, str], asked: Done
) -> None:
    assert asked.returncode == 0, asked.stderr
    counted = json.loads(_coppice(folder, environment, "log", "stats", "--json").stdout)
    assert counted["events"]["coppice.prediction.v1"] == ROWS
    assert counted["events"]["coppice.feedback.v1"] == ROWS


def test_a_command_without_a_rollout_is_refused(
    folder: Path, environment: dict[str, str], asked: Done
) -> None:
    assert asked.returncode == 0, asked.stderr
    done = _coppice(folder, environment, "rollout", "promote")
    assert done.returncode == 7
    assert "no rollout is running" in done.stderr


def test_a_second_up_is_refused(folder: Path, environment: dict[str, str], asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    done = _coppice(folder, environment, "up")
    assert done.returncode == 8
    assert "runs already" in done.stderr
