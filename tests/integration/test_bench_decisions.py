"""The benchmarks of decisions and diagnoses run; their figures are not judged here."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from tests.support import house

pytestmark = pytest.mark.slow

SETTINGS = {
    "paired, asked 100%",
    "paired, asked 10%",
    "paired, natural 10%",
    "split, natural 100%",
    "split, natural 10%",
}


def quick(name: str, folder: Path) -> dict[str, object]:
    program = [sys.executable, f"bench/{name}.py", "--quick", "--out", str(folder)]
    done = subprocess.run(
        program, cwd=house.ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads((folder / f"{name}.json").read_text())
    return found


def test_every_contestant_decides_in_every_setting_and_the_monitor_decides_alike(
    tmp_path: Path,
) -> None:
    found = quick("decisions", tmp_path)
    assert {(row["source"], row["setting"]) for row in found["rows"]} == {
        (source, setting) for source in ("simulated", "replayed") for setting in SETTINGS
    }
    # The monitor's own trial is fed the same real answers, pair by pair, and looked at as often.
    last = found["targets"][-1]
    assert (last["name"], last["value"]) == ("trials of the monitor that decide otherwise", 0)


def test_every_planted_cause_is_in_the_confusion_table(tmp_path: Path) -> None:
    rows = quick("diagnosis", tmp_path)["rows"]
    planted = [row["planted"] for row in rows]
    assert planted == ["pruning", "pruning, previous fine", "release", "world"]
    # One seed, two shares, two streams of each.
    assert [
        sum(row[found] for found in ("pruning", "release", "world", "undecided", "no alarm"))
        for row in rows
    ] == [4, 4, 4, 4]


@pytest.fixture
def contestants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(house.ROOT / "bench")
    return importlib.import_module("contestants")


def test_the_contestants_exact_test_is_fishers(contestants: ModuleType) -> None:
    wrong, right = np.array([9.0, 30.0, 4.0]), np.array([2.0, 21.0, 4.0])
    found = contestants._fisher(wrong, right, np.array([50.0, 400.0, 60.0]))
    expected = [
        stats.fisher_exact([[9, 41], [2, 48]], alternative="greater").pvalue,
        stats.fisher_exact([[30, 370], [21, 379]], alternative="greater").pvalue,
        stats.fisher_exact([[4, 56], [4, 56]], alternative="greater").pvalue,
    ]
    assert found == pytest.approx(expected)


def test_fixed_thresholds_act_at_the_measurement_after_the_last_that_is_allowed(
    contestants: ModuleType,
) -> None:
    # One look holds fifty labels, of which five are wrong; 95% are asked for.
    looks = np.arange(1.0, 13.0)[None]
    seen = contestants.Seen(5 * looks, 0 * looks, 45 * looks, 0 * looks, paired=True, stride=1)
    argo = contestants.fixed(seen, limit=3, accuracy=0.95)
    flagger = contestants.fixed(seen, limit=9, accuracy=0.95)
    assert (argo.argmax(), flagger.argmax()) == (3, 9)  # the fourth look, and the tenth


def test_a_mean_of_five_hundred_labels_acts_at_the_tenth_look(contestants: ModuleType) -> None:
    looks = np.arange(1.0, 13.0)[None]
    seen = contestants.Seen(5 * looks, 0 * looks, 45 * looks, 0 * looks, paired=True, stride=1)
    assert contestants.rolling(seen, accuracy=0.95).argmax() == 9
