"""The benchmark of killed relays runs; its figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import house

pytest.importorskip(
    "confluent_kafka", reason="confluent-kafka is not installed: no relay was tried"
)


def test_the_quick_run_kills_relays_and_reports_what_became_of_each_event(tmp_path: Path) -> None:
    program = [sys.executable, "bench/relay_trials.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        program, cwd=house.ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    # How much of a core a relay takes depends on what else runs here; what is lost does not.
    found = json.loads((tmp_path / "relay_trials.json").read_text())
    values = {target["name"]: target["value"] for target in found["targets"]}
    assert values["acknowledged events lost"] == 0, done.stderr
    assert values["duplicates after deduplication"] == 0
    assert values["events out of order for their request"] == 0
    assert values["relays killed"] == len(found["rows"]) == 3
    assert "| trial |" in (tmp_path / "relay_trials.md").read_text()
