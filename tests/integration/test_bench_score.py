"""The benchmark of offline scoring runs; its figures are judged by whoever reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house


@pytest.mark.slow
def test_the_quick_run_measures_both_contestants(tmp_path: Path) -> None:
    argv = [sys.executable, str(house.ROOT / "bench" / "score.py"), "--quick", "--out", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "score.json").read_text())
    assert [row["contestant"] for row in found["rows"]] == ["plain loop", "coppice score"]
    assert all(row["rows/s of processor time"] > 0 for row in found["rows"])
