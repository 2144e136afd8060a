"""The retrainer as a process of its own: SIGTERM in the midst of training."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from coppice import eventlog, project, records, registry, settings
from coppice.eventlog.sqlite import SqliteLog
from retrain import candidate
from retrain.pruning import recipe
from tests.support import digits

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SETTINGS = f"""
[project]
name = "digits"
module = "{digits.MODULE}"

[train]
epochs = {{epochs}}

[inspect]
sections = []

[retrain]
min_labels = 20
poll_seconds = 0.05
"""
MAIN = """
import pathlib, sys
from coppice import settings
from retrain import loop
loop.main(settings.load(pathlib.Path(sys.argv[1])))
"""


def settle(folder: Path, epochs: int) -> settings.Settings:
    (folder / settings.FILE).write_text(SETTINGS.format(epochs=epochs))
    return settings.load(folder)


def traffic(version: str) -> list[records.Record]:
    scans = digits.splits()["traffic"].take(np.arange(20))
    facts: list[records.Record] = []
    for row in range(20):
        pixels = records.Tensor.of(scans.inputs["pixels"][row : row + 1])
        facts += [
            records.Prediction(
                request_id=f"r{row}",
                model="digits",
                version=version,
                lane="stable",
                propensity=1.0,
                key_hash="",
                inputs={"pixels": pixels},
                latency_seconds=0.001,
            ),
            records.Feedback(
                request_id=f"r{row}",
                model="digits",
                labels=(int(scans.targets[row]),),
                labelled_at=0.0,
            ),
        ]
    return facts


def statuses(log: SqliteLog) -> list[str]:
    found = [records.unseal(event) for event in log.read("", 1000).events]
    return [record.status for record in found if isinstance(record, records.Retraining)]


def wait_for(log: SqliteLog, wanted: list[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while statuses(log) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert statuses(log) == wanted


def test_sigterm_in_training_ends_the_process_and_keeps_the_verdict(tmp_path: Path) -> None:
    quick = settle(tmp_path, epochs=1)
    versions = registry.open_registry(quick)
    log = eventlog.open_log(quick)
    assert isinstance(log, SqliteLog)
    request = candidate.CandidateRequest(recipe=recipe.Recipe(finetune_epochs=0), force=True)
    champion = candidate.make(project.load(quick), versions, log, request)
    verdict = records.Verdict(
        model="digits",
        version=champion.version,
        scope="champion",
        kind="decay",
        cause="world",
        reason="accuracy fell",
    )
    settled = records.Rollout(
        model="digits", stage="idle", champion=champion.version, outcome="settled", reason="test"
    )
    facts = [settled, *traffic(champion.version), verdict]
    log.append([records.seal(fact, source="test", now=0.0) for fact in facts])
    # So many epochs that the training cannot end by itself while the test runs.
    settle(tmp_path, epochs=100_000)
    process = subprocess.Popen([sys.executable, "-c", MAIN, str(tmp_path)], cwd=ROOT)
    try:
        wait_for(log, ["started"], seconds=300.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300.0) == 0
    finally:
        process.kill()
        process.wait()
    assert statuses(log) == ["started", "held"]
    log.close()
