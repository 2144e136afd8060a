"""The benchmark of tracing runs; its figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house

pytestmark = pytest.mark.slow


def test_the_quick_run_reports_each_server_and_all_spans_arrive(tmp_path: Path) -> None:
    program = [sys.executable, "bench/tracing.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        program, cwd=house.ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "tracing.json").read_text())["rows"]
    servers = [row["server"] for row in rows]
    assert servers == ["not traced", "1 in 100", "every request", "spans received"]
    assert "| server |" in (tmp_path / "tracing.md").read_text()
