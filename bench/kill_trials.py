"""Kill the server under load, again and again: is every acknowledged prediction in the log?

Each trial starts the real server on one project, keeps it under load over HTTP, kills every process
of it at once (SIGKILL) at a random moment, and compares the request ids that were answered with 200
with those in the log. `--quick` makes two trials.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import report

from coppice import records
from tests.support import load, serving

TRIALS = 20
QUICK_TRIALS = 2
CLIENTS = 8
LEAST_SECONDS, MOST_SECONDS = 0.3, 1.5
"""The server is killed at a random moment between these, once it is under load."""
BUDGET_SECONDS = 480.0
"""No new trial is begun after so long."""
SEED = 20

NOTES = """Each trial starts the server on the same project and log, lets 8 clients ask over HTTP
as fast as they are answered, and kills the supervisor and its worker with SIGKILL at a random
moment. *Acknowledged* are the requests answered with 200, *stored* those of them whose event is in
the log afterwards, *unanswered* further events whose answer the client never got: stored, but not
promised. The log's own integrity check runs after each trial. A kill leaves the machine running, so
this says nothing about power cuts; for those there is `events.durability = "power-loss"`."""


def main() -> None:
    """Run the trials and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two trials")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    trials = QUICK_TRIALS if options.quick else TRIALS
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder), trials)
    found = report.Report(
        name="kill_trials",
        title="Killed servers: acknowledged against stored predictions",
        rows=[*rows, total(rows)],
        targets=[
            report.Target("acknowledged predictions lost", total(rows)["lost"], "<=", 0),
            report.Target("broken logs", total(rows)["findings"], "<=", 0),
            report.Target("trials", len(rows), ">=", trials),
        ],
        packages=("bentoml", "uvicorn", "onnxruntime", "numpy"),
        notes=NOTES,
    )
    found.write(options.out)
    sys.exit(0 if all(target.holds for target in found.targets) else 1)


def run(folder: Path, trials: int) -> list[dict[str, Any]]:
    """Make the trials, one after another, on one project."""
    made = serving.project(folder, serve={"port": serving.free_port()})
    draw = random.Random(SEED)
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    known: set[str] = set()
    for number in range(1, trials + 1):
        if time.monotonic() - began > BUDGET_SECONDS:
            break
        rows.append(trial(made, number, draw.uniform(LEAST_SECONDS, MOST_SECONDS), known))
        print(rows[-1], flush=True)
    return rows


def trial(made: serving.Project, number: int, seconds: float, known: set[str]) -> dict[str, Any]:
    """Kill one server under load and count; `known` are the ids stored before, and grows."""
    with serving.server(made) as running, load.load(running.url, CLIENTS) as clients:
        clients.wait_for(CLIENTS)
        time.sleep(seconds)
        running.kill()
    acknowledged = set(clients.acknowledged)
    log = made.log
    stored = {record.request_id for record in serving.stored(log, records.Prediction)}
    findings = log.integrity()
    log.close()
    fresh = stored - known
    known |= stored
    return {
        "trial": number,
        "killed after": f"{seconds:.2f} s",
        "acknowledged": len(acknowledged),
        "stored": len(acknowledged & stored),
        "lost": len(acknowledged - stored),
        "unanswered": len(fresh - acknowledged),
        "findings": len(findings),
    }


def total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum up the trials."""
    counts = ("acknowledged", "stored", "lost", "unanswered", "findings")
    sums = {name: sum(row[name] for row in rows) for name in counts}
    return {"trial": "all", "killed after": "", **sums}


if __name__ == "__main__":
    main()
