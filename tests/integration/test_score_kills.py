"""A job of offline scoring is killed at random moments, resumed, and ends as one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coppice import records
from coppice.eventlog.sqlite import SqliteLog
from tests.support import artifacts, scoring, serving

pytestmark = pytest.mark.slow

ROWS = artifacts.rows(6_000)
PART = 50
"""Rows of a batch; with `STRETCH_BYTES` made small also those of a part."""
PROGRAM = """
import sys
from coppice_cli import main
from service import batch
batch.STRETCH_BYTES = 1
sys.exit(main.invoke(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    project = scoring.project(tmp_path_factory.mktemp("killed"))
    for form in (".parquet", ".csv", ".npz"):
        scoring.write(project.tree.root / f"in{form}", ROWS, group=1000)
    return project


def words(made: serving.Project, form: str, output: Path) -> list[str]:
    source = made.tree.root / f"in{form}"
    given = ["score", str(source), str(output), "-C", str(made.tree.root)]
    mapped = [] if form == ".npz" else ["--columns", scoring.MAPPING]
    return [*given, "--batch-rows", str(PART), *mapped]


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def done_parts(output: Path) -> int:
    return len(list(output.with_name(f"{output.name}.partial").glob("part-*.json")))


def kill_midway(arguments: list[str], output: Path, more: int, pause: float) -> int:
    """Start a job, kill it once it has done more parts, and return how many are done then."""
    before = done_parts(output)
    process = start(arguments)
    serving.wait_until(lambda: done_parts(output) >= before + more or process.poll() is not None)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it was done before it was killed"
    assert not output.exists()
    return done_parts(output)


@pytest.mark.parametrize(("form", "kills"), [(".parquet", 5), (".csv", 2), (".npz", 2)])
def test_a_job_that_was_killed_ends_byte_for_byte_as_one_that_was_not(
    made: serving.Project, tmp_path: Path, form: str, kills: int
) -> None:
    whole, killed = tmp_path / f"whole{form}", tmp_path / f"killed{form}"
    assert start(words(made, form, whole)).wait() == 0
    draw = random.Random(form)

    progress = [
        kill_midway(words(made, form, killed), killed, draw.randint(1, 9), draw.uniform(0, 0.01))
        for _ in range(kills)
    ]

    assert start(words(made, form, killed)).wait() == 0
    assert progress == sorted(set(progress)), "each run went on where the one before ended"
    assert killed.read_bytes() == whole.read_bytes()
    assert scoring.read(killed)["row"].tolist() == list(range(len(ROWS)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [killed.name, whole.name]


def test_a_killed_job_that_logs_leaves_one_event_for_each_batch(
    made: serving.Project, tmp_path: Path
) -> None:
    output = tmp_path / "logged.npz"
    arguments = [*words(made, ".npz", output), "--log"]
    for more in (3, 12, 1):
        kill_midway(arguments, output, more, 0.005)
    assert start(arguments).wait() == 0

    log = SqliteLog(made.tree.log_path)
    found = serving.stored(log, records.Prediction)
    log.close()
    rows = [int(record.request_id.rpartition("-")[2]) for record in found]
    assert rows == list(range(0, len(ROWS), PART))
    assert sum(record.outputs["scores"].shape[0] for record in found) == len(ROWS)
