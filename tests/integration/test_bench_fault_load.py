"""A short load with every fault: no answer is wrong, and no promise is broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house

pytestmark = pytest.mark.slow


def test_under_faults_each_answer_is_right_and_each_promise_is_kept(tmp_path: Path) -> None:
    program = [sys.executable, "bench/fault_load.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        program, cwd=house.ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    whole = json.loads((tmp_path / "fault-load.json").read_text())
    row = {line["what"]: line["value"] for line in whole["rows"]}
    promised = ("acknowledged requests", "acknowledged labels", "swaps", "workers killed")
    assert [name for name in promised if not row[name]] == []
    # What must never happen; how many swaps and how much memory are figures of a long run.
    never = [target for target in whole["targets"] if target["target"] == 0]
    assert len(never) == 7
    assert [target["name"] for target in never if not target["holds"]] == []
