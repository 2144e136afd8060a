"""The benchmark of the event log runs; its figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house

pytestmark = pytest.mark.slow


def test_the_quick_run_reports_every_part_and_its_targets(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka", reason="the mock brokers come with confluent-kafka")
    program = [sys.executable, "bench/eventlog.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        program, cwd=house.ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "eventlog.json").read_text())
    parts = {row["part"] for row in found["rows"]}
    assert parts >= {"commit, 1 KiB", "encoding, 30 numbers", "kafka", "stages", "beside"}
    assert min(row.get("events/s") or 1 for row in found["rows"]) > 0
    assert [target["target"] for target in found["targets"]] == [10_000.0] * 3
    # Parts have columns of their own, so each has a table.
    assert (tmp_path / "eventlog.md").read_text().count("| part | contestant |") == 5
