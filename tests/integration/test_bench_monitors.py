"""The benchmark of monitors runs, and tells what the capacity note takes from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench import capacity
from tests.support import house


def test_the_quick_run_measures_the_load_of_the_capacity_note(tmp_path: Path) -> None:
    program = [sys.executable, "bench/monitors.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        program, cwd=house.ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    planned, load = capacity.AS_PLANNED, capacity.Load(1.0)
    rows = {
        row["load"]: row for row in json.loads((tmp_path / "monitors.json").read_text())["rows"]
    }
    assert planned == f"{load.mirror_share:.0%} mirrored, {load.label_share:.0%} labelled"
    # Requests without facts would cost next to nothing.
    assert rows[planned]["judge, CPU us/request"] > 1.0
    assert rows[planned]["bytes of facts"] > 10
