"""The search for chains on the small network, as a user would run it: its second run is timed.

The first run fills the table of latencies. Then everything but that table is taken away, and the
command is run again: sensitivities, probes and the final measurement are made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pruning_plan
import pruning_runs
import report

BENCH = Path(__file__).resolve().parent
MINUTES = 5.0

SETTINGS = """[project]
name = "fashion"
module = "fashion"
task = "multiclass"
checkpoint = "dense.safetensors"

[train]
batch_size = 128

[prune]
criterion = "taylor"
align = 16
learning_rate = 2e-3
"""
MODULE = """import sys

sys.path.append({bench!r})

import pruning_nets


def build_model():
    return pruning_nets.ResidualNet(pruning_nets.WIDTHS["small"])


def load_data():
    return pruning_nets.load_data()
"""


class Searched(NamedTuple):
    """Rows and targets for the report."""

    rows: list[dict[str, Any]]
    targets: list[report.Target]


def search(plan: pruning_plan.Plan, runs: pruning_runs.Runs) -> Searched:
    """Search twice and time the second run."""
    folder = plan.training.folder / "search"
    folder.mkdir(parents=True, exist_ok=True)
    runs.parent("small", 1)
    shutil.copy(plan.training.folder / "small-1.safetensors", folder / "dense.safetensors")
    (folder / "coppice.toml").write_text(SETTINGS)
    (folder / "fashion.py").write_text(MODULE.format(bench=str(BENCH)))
    _run(folder)
    for path in (folder / ".coppice").iterdir():
        if path.name != "latency":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    start = time.perf_counter()
    found = _run(folder)
    minutes = (time.perf_counter() - start) / 60
    target = report.Target("search with a known table, minutes", round(minutes, 2), "<=", MINUTES)
    return Searched([_row(found, minutes)], [target])


def _run(folder: Path) -> dict[str, Any]:
    argv = [sys.executable, "-m", "coppice_cli", "search", "--project", str(folder), "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=False)
    # 4: no width met the budget, which is an answer too.
    if done.returncode not in {0, 4}:
        message = f"coppice search ended with {done.returncode}"
        raise RuntimeError(message)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _row(found: dict[str, Any], minutes: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "search on small": f"{len(found['entries'])} structures",
        "minutes": round(minutes, 2),
        "blocks left out": "-",
        "widths": "none within the budget",
        "times as fast": "-",
        "lost after the short recovery": "-",
        "expected after the whole": "-",
    }
    if found["chosen"] is not None and found["final"] is not None:
        entry = found["entries"][found["chosen"]]
        row["widths"] = ", ".join(f"{name} {width}" for name, width in entry["widths"].items())
        row["times as fast"] = round(found["final"]["cost"]["gain"], 2)
        row["blocks left out"] = ", ".join(entry["out"]) or "none"
        row["lost after the short recovery"] = round(100 * entry["probe"]["drop"], 2)
        after = entry["probe"]["expected"]
        low, loss, high = (round(100 * after[name], 2) for name in ("low", "loss", "high"))
        row["expected after the whole"] = f"{loss} ({low} to {high})"
    return row
