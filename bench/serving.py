"""Serving side by side: Coppice, what others offer, and the bound, on one core in one run.

Servers are pinned to the first core, the client (wrk) to the last. All servers of a model are
started before the first is asked, but only the one that is asked is on the processor; the others
are halted. Rounds are interleaved: each asks every server once, so that a noisy minute is a noisy
minute for all. `--quick` asks two servers about the smallest model for a second each.

The contestants live in environments of their own, which `make bench-serving` makes first.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))

import contest
import report
import serving_models
import wrk

SERVER_CORE, CLIENT_CORE = 0, (os.cpu_count() or 2) - 1
MAIN = 16
"""Connections at which contestants are compared."""
MANY = 64
PAUSE_MS = 12
"""Longest pause of a client between two requests, where load stays away from saturation."""
SMALL, LARGE = "MLP 784-64-10", "larger CNN"
MIRROR_OFF, MIRROR_ON = "Coppice, binary, paced", "Coppice, binary, paced, canary + mirroring"
HERE = Path(__file__).resolve().parent
LEARNT = HERE / "notes" / "serving.md"

NOTES = """One core serves, another asks (wrk, one thread, the same row again and again). Medians
over interleaved rounds, after a second of warm-up each; a server that is not asked is halted
meanwhile, once it has finished what it was asked. *requests/s* counts answers with 2xx only,
*failed* everything else in all rounds. *CPU* is the processor time of all the server's processes
per answer, *RSS* their resident memory after the rounds, *start* the time from the command to the
first answer. Coppice runs as a user runs it: the router with a candidate at a weight of 0.1, every
answer committed to the event log with its inputs, all metrics; then without a candidate, without a
log and without metrics, one by one. The bare bound is an ASGI application under the same uvicorn,
httptools and uvloop that parses nothing, checks nothing, runs the same graph and sends the scores.
FastAPI does inference in an `async def` with orjson. BentoML's typed API, LitServe and MLServer run
as their documentation shows, without access logs, in one process that answers. Paced clients pause
0 to 12 ms between requests, so that the server is not saturated: there canary and mirroring at a
rate of 1 are compared with neither. The runtime's own throughput is that of its best batch size, on
the same core, measured before and after the servers."""


class Cell(NamedTuple):
    """A number of connections, asked so many rounds of so many seconds."""

    connections: int
    rounds: int
    seconds: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is run."""

    cells: Mapping[str, Sequence[Cell]]
    contestants: Sequence[contest.Contestant]
    paced: Cell


FULL = Plan(
    cells={
        SMALL: (Cell(MAIN, 5, 2), Cell(1, 1, 1), Cell(MANY, 1, 1)),
        "small CNN": (Cell(MAIN, 3, 1), Cell(1, 1, 1), Cell(MANY, 1, 1)),
        # Long rounds: what is still under way at the end of one, 64 requests or an eighth of what
        # this model answers in a second, is not counted.
        LARGE: (Cell(MAIN, 2, 2), Cell(1, 1, 1), Cell(MANY, 3, 8)),
    },
    contestants=contest.CONTESTANTS,
    paced=Cell(MAIN, 9, 2),
)
QUICK = Plan(
    cells={SMALL: (Cell(MAIN, 1, 1),)},
    contestants=[c for c in contest.CONTESTANTS if c.server in {"coppice", "bare"}],
    paced=Cell(MAIN, 1, 1),
)


class Entry(NamedTuple):
    """Somebody who is asked, and in which way."""

    name: str
    server: contest.Running
    ask: wrk.Ask


def main() -> None:
    """Run the contest and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two servers, a second each")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        client = wrk.Client(CLIENT_CORE, Path(folder))
        rows: list[dict[str, Any]] = []
        bounds: dict[str, float] = {}
        for model, cells in plan.cells.items():
            subject = serving_models.make(model, Path(folder) / f"model-{len(bounds)}")
            bound = runtime_bound(subject)
            rows += compete(subject, plan.contestants, cells, client)
            # Before and after, because a machine is not equally quick all the time.
            bounds[model] = statistics.mean([bound, runtime_bound(subject)])
            if model == SMALL:
                rows += pace(subject, plan.paced, client)
    found = report.Report(
        name="serving",
        title="Serving side by side, on one core",
        rows=rows,
        targets=targets(rows, bounds),
        packages=("bentoml", "uvicorn", "httptools", "uvloop", "onnxruntime", "numpy"),
        notes="\n\n".join([NOTES, _bounds(bounds), LEARNT.read_text().strip()]),
    )
    found.write(options.out)
    sys.exit(0 if all(target.holds for target in found.targets) else 1)


def compete(
    subject: serving_models.Subject,
    contestants: Sequence[contest.Contestant],
    cells: Sequence[Cell],
    client: wrk.Client,
) -> list[dict[str, Any]]:
    """Ask contestants about one model; only the main cell asks those that are not everywhere."""
    bodies = subject.bodies()
    asks = {c: c.ask(bodies) for c in contestants if c.everywhere or subject.name == SMALL}
    servers = {c.server: ask for c, ask in asks.items()}
    rows: list[dict[str, Any]] = []
    with contest.running(servers, subject, SERVER_CORE) as started:
        for cell in cells:
            entries = [
                Entry(c.name, started[c.server], ask)
                for c, ask in asks.items()
                if c.everywhere or cell.connections == MAIN
            ]
            rows += measure(subject.name, entries, cell, client)
    return rows


def pace(subject: serving_models.Subject, cell: Cell, client: wrk.Client) -> list[dict[str, Any]]:
    """Compare latencies with and without canary and mirroring, away from saturation."""
    paced = dataclasses.replace(contest.CONTESTANTS[0].ask(subject.bodies()), pause_ms=PAUSE_MS)
    names = {MIRROR_OFF: contest.UNMIRRORED, MIRROR_ON: contest.MIRRORED}
    with contest.running(dict.fromkeys(names.values(), paced), subject, SERVER_CORE) as started:
        entries = [Entry(name, started[server], paced) for name, server in names.items()]
        return measure(subject.name, entries, cell, client)


def measure(
    model: str, entries: Sequence[Entry], cell: Cell, client: wrk.Client
) -> list[dict[str, Any]]:
    """Ask all in turn, round by round, and return a row of medians for each."""
    seen: dict[str, list[wrk.Found]] = {entry.name: [] for entry in entries}
    micros: dict[str, list[float]] = {entry.name: [] for entry in entries}
    for turn in range(cell.rounds + 1):
        for entry in entries:
            with entry.server.awake():
                before = entry.server.processor()
                seconds = cell.seconds if turn else 1
                found = client.run(entry.ask, entry.server.port, cell.connections, seconds)
                took = entry.server.processor() - before
            if turn:
                seen[entry.name].append(found)
                micros[entry.name].append(took / max(1, found.answered) * 1e6)
    rows = [
        _row(model, cell.connections, entry, seen[entry.name], micros[entry.name])
        for entry in entries
    ]
    print(report.table(rows), flush=True)
    return rows


def _row(
    model: str, connections: int, entry: Entry, seen: Sequence[wrk.Found], micros: Sequence[float]
) -> dict[str, Any]:
    def median(pick: Callable[[wrk.Found], float]) -> float:
        return statistics.median(pick(found) for found in seen)

    return {
        "model": model,
        "connections": connections,
        "server": entry.name,
        "requests/s": round(median(lambda f: f.rate)),
        "p50 ms": round(median(lambda f: f.p50), 2),
        "p99 ms": round(median(lambda f: f.p99), 2),
        "failed": sum(found.failed for found in seen),
        "CPU us": round(statistics.median(micros)),
        "RSS MB": round(entry.server.memory()),
        "start s": round(entry.server.start_seconds, 1),
    }


def runtime_bound(subject: serving_models.Subject) -> float:
    """Return the rows per second of the runtime alone, at its best batch size, on our core."""
    program = ["taskset", "-c", str(SERVER_CORE), sys.executable]
    done = subprocess.run(
        [*program, contest.SERVERS / "batches.py", subject.graph],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def _bounds(bounds: Mapping[str, float]) -> str:
    lines = [f"{model} {rate:,.0f} rows/s" for model, rate in bounds.items()]
    return f"The runtime alone: {', '.join(lines)}."


def targets(rows: Sequence[Mapping[str, Any]], bounds: Mapping[str, float]) -> list[report.Target]:
    """Compare what was found with what Coppice promises; leaves out what was not asked."""
    rates = {(r["model"], r["connections"], r["server"]): r["requests/s"] for r in rows}
    p99 = {r["server"]: r["p99 ms"] for r in rows if r["model"] == SMALL}
    wanted = {
        (contest.BINARY, contest.BARE): 0.6,
        (contest.BINARY, contest.PLAIN): 9.0,
        (contest.BINARY, contest.LITSERVE): 10.0,
        (contest.JSON, contest.PLAIN): 4.0,
        (contest.JSON, contest.LITSERVE): 4.0,
    }
    found = [
        report.Target(f"{one} / {other}", round(mine / rate, 3), ">=", least)
        for (one, other), least in wanted.items()
        if (mine := rates[SMALL, MAIN, one]) and (rate := rates.get((SMALL, MAIN, other)))
    ]
    paced = round(p99[MIRROR_ON] / p99[MIRROR_OFF], 3)
    found.append(report.Target("p99 with canary and mirroring / without", paced, "<=", 1.1))
    many = rates.get((LARGE, MANY, contest.BINARY))
    if many:
        share = round(many / bounds[LARGE], 3)
        found.append(report.Target(f"batching, {LARGE} / the runtime alone", share, ">=", 0.9))
    failed = sum(row["failed"] for row in rows if row["server"].startswith("Coppice"))
    return [*found, report.Target("requests that Coppice failed", failed, "<=", 0)]


if __name__ == "__main__":
    main()
