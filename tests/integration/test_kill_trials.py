"""The benchmark of killed servers runs; its figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house

pytestmark = pytest.mark.slow


def test_the_quick_run_reports_two_trials_without_a_loss(tmp_path: Path) -> None:
    program = [sys.executable, "bench/kill_trials.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        program, cwd=house.ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "kill_trials.json").read_text())
    assert [row["lost"] for row in found["rows"]] == [0, 0, 0]
    assert all(target["holds"] for target in found["targets"])
    assert "| trial |" in (tmp_path / "kill_trials.md").read_text()
