"""The benchmark of pruning runs; its figures are judged by whoever reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house

PICTURES = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.slow
@pytest.mark.skipif(not PICTURES.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_quick_run_measures_every_part_but_the_search(tmp_path: Path) -> None:
    argv = [sys.executable, str(house.ROOT / "bench" / "pruning.py"), "--quick", "--out", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "pruning.json").read_text())
    versions = [row["version"] for row in found["rows"] if "version" in row]
    assert versions[-2:] == ["blocks, then channels", "the same in int8"]
    cells = [row["criterion"] for row in found["rows"] if "channels removed" in row]
    assert cells == ["l1", "magnitude", "random"]
    compared = {row["criterion"] for row in found["rows"] if "verdict" in row}
    assert compared == {"l1", "magnitude"}
    assert [row["prunings in one process"] for row in found["rows"][-1:]] == [2]
    assert len(found["targets"]) == 7
