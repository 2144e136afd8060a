"""The benchmark of drift alarms runs; its figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house

pytestmark = pytest.mark.slow


def test_the_quick_run_reports_every_kind_of_window_and_what_a_window_costs(tmp_path: Path) -> None:
    program = [sys.executable, "bench/drift.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        program, cwd=house.ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "drift.json").read_text())["rows"]
    kinds = " ".join(row["windows are"] for row in rows)
    wanted = ("clean", "0.1 sigma", "0.25 sigma", "0.5 sigma", "blur", "noise", "brightness")
    assert [kind for kind in (*wanted, "prior", "labels", "cost") if kind not in kinds] == []
    assert "| windows are |" in (tmp_path / "drift.md").read_text()
