"""The benchmark of serving runs; its figures are not judged here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed")
def test_the_quick_run_reports_each_server_and_refuses_nothing(tmp_path: Path) -> None:
    program = [sys.executable, "bench/serving.py", "--quick", "--out", str(tmp_path)]
    subprocess.run(
        program,
        cwd=house.ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        timeout=900,
    )
    found = json.loads((tmp_path / "serving.json").read_text())
    rates = {row["server"]: row["requests/s"] for row in found["rows"]}
    assert sorted(rates) == [
        "Coppice, JSON",
        "Coppice, binary",
        "Coppice, binary, paced",
        "Coppice, binary, paced, canary + mirroring",
        "bare ASGI bound",
    ]
    assert min(rates.values()) > 0
    assert [row["failed"] for row in found["rows"]] == [0] * 5
