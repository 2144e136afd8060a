"""Serve under load while everything goes wrong: is one answer wrong, or one promise broken?

Two workers answer mixed traffic at 80% of the measured capacity while routing tables change, a
candidate crashes, another one is corrupt, workers are killed, and clients are slow, send garbage or
hang up. `--quick` takes about 20 seconds, the whole run 10 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))

import asking
import faults
import numpy as np
import report

from coppice import artifact, records
from coppice.eventlog import base
from tests.support import artifacts, serving

SEED = 20
CLIENTS = 32
NUISANCES = 10
VERSIONS = 5
SOUND = artifacts.Tail()
WARM_SECONDS = 2.0
KILL_SECONDS = 15.0
"""BentoML looks for dead workers every ten seconds."""

NOTES = """Two workers and one client process on the machine named above. The versions are linear
with whole numbers as weights, so each answer is compared bit by bit with what the version that it
names must say to these very rows; an answer mixed from two requests or two versions is found out.
*Capacity* is what 32 connections get when they never pause; then they ask at 80% of it: 43% binary,
43% JSON, of which a third with routing key and slices, and 14% labels, some of them twice or two at
once. Meanwhile routing tables change, with a candidate that fails at half of the requests, one that
is corrupt on disk, and mirroring; workers are killed with SIGKILL (one is spared, and its resident
memory watched); clients send heads byte by byte, half a body, garbage, torn requests, or hang up.
*Broken connections* are those of killed workers; nothing was promised on them. At the end the
server is told to drain, and each request and each label that was acknowledged must be in the log
exactly once, with the version and the label that the client was told."""


class Plan(NamedTuple):
    """How long, and how much goes wrong."""

    seconds: float
    swaps: int
    kills: int
    share: float = 0.8
    """Of the measured capacity."""

    @classmethod
    def of(cls, minutes: float) -> Plan:
        """Fifty swaps in ten minutes, and no fewer in less than that but for the quick run."""
        seconds = 60.0 * minutes
        return cls(seconds, 50 if minutes >= 1 else 10, max(1, int(seconds / (2 * KILL_SECONDS))))


QUICK = Plan.of(0.25)._replace(share=0.3)


def main() -> None:
    """Run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="15 seconds of less load")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the load")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    plan = QUICK if options.quick else Plan.of(options.minutes)
    with tempfile.TemporaryDirectory() as folder:
        row = run(Path(folder), plan)
    found = report.Report(
        name="fault-load",
        title="Load with faults: answers checked, promises kept",
        rows=[{"what": name, "value": value} for name, value in row.items()],
        targets=targets(row, plan),
        packages=("bentoml", "uvicorn", "onnxruntime", "numpy"),
        notes=NOTES,
    )
    found.write(options.out)
    sys.exit(0 if options.quick or all(target.holds for target in found.targets) else 1)


def targets(row: dict[str, Any], plan: Plan) -> list[report.Target]:
    """What must hold."""
    nought = (
        "wrong or mixed answers",
        "acknowledged requests lost",
        "acknowledged requests stored twice",
        "acknowledged labels lost or changed",
        "requests without any answer",
        "tracebacks",
        "exit code of the drained server",
    )
    return [
        *(report.Target(name, row[name], "<=", 0) for name in nought),
        report.Target("swaps", row["swaps"], ">=", plan.swaps),
        report.Target("workers killed", row["workers killed"], ">=", plan.kills),
        report.Target("memory, last quarter to first", row["memory ratio"], "<=", 1.1),
    ]


def run(folder: Path, plan: Plan) -> dict[str, Any]:
    """Serve under faults, then compare what was promised with what is in the log."""
    draw = random.Random(SEED)
    made = serving.project(
        folder,
        project={"name": serving.MODEL, "task": "regression"},
        serve={"port": serving.free_port(), "workers": 2},
    )
    known, unsound = pack(made, draw)
    made.route(champion=next(iter(known)))
    found = asking.Found()
    with serving.server(made) as running:
        running.wait_until(lambda: len(faults.workers(running)) == 2)
        row = asyncio.run(load(made, running, known, unsound, (plan, draw, found)))
        code = running.stop()
        unforeseen = running.output.read_text().count("Traceback")
    kept = verify(made, found)
    for line in found.wrong[:10]:
        print("wrong:", line)
    return row | kept | {"tracebacks": unforeseen, "exit code of the drained server": code}


def pack(
    made: serving.Project, draw: random.Random
) -> tuple[dict[str, asking.Version], tuple[str, ...]]:
    """Pack the versions: what each must answer by tag, and the tags of the unsound ones."""
    known: dict[str, asking.Version] = {}

    def add(tail: artifacts.Tail = SOUND) -> str:
        weight = tuple(draw.randrange(1, asking.LARGEST) for _ in range(4))
        version = asking.Version(weight, draw.randrange(asking.LARGEST))
        tag = made.add(
            artifacts.linear_regressor,
            weight=np.array(version.weight),
            bias=np.array([version.bias]),
            tail=tail,
        )
        known[tag] = version
        return tag

    for _ in range(VERSIONS):
        add()
    failing = add(artifacts.failing(above=asking.LARGEST / 2))
    corrupt = add()
    del known[corrupt]
    with (made.path(corrupt) / artifact.MODEL).open("r+b") as file:
        file.write(b"\0" * 16)
    return known, (failing, corrupt)


async def load(
    made: serving.Project,
    running: serving.Server,
    known: dict[str, asking.Version],
    unsound: tuple[str, ...],
    rest: tuple[Plan, random.Random, asking.Found],
) -> dict[str, Any]:
    """Keep the server under load and faults, and return what happened."""
    plan, draw, found = rest
    port = made.tree.serve.port
    clients = [asking.Client(port, known, found, draw) for _ in range(CLIENTS)]
    capacity = await measure(clients, found, min(10.0, plan.seconds / 5))
    rate = plan.share * capacity
    sound = [tag for tag in known if tag not in unsound]
    swaps = faults.Swaps(made, sound, unsound, draw)
    kills = faults.Kills(running)
    nuisances = [faults.Nuisance(port, found, draw, place) for place in range(NUISANCES)]
    memory: list[float] = []

    async def weigh() -> None:
        memory.append(kills.spared.memory_info().rss / 2**20)

    asked, began = sum(found.outcomes.values()), time.monotonic()
    pace = CLIENTS / rate
    # One swap and one kill more than asked for: the last of each may not get its turn.
    await asyncio.gather(
        *(every(pace, plan.seconds, client.turn) for client in clients),
        every(plan.seconds / (plan.swaps + 1), plan.seconds, swaps.turn),
        every(plan.seconds / (plan.kills + 1), plan.seconds, kills.turn, first=5.0),
        *(every(0.1, plan.seconds, nuisance.turn) for nuisance in nuisances),
        every(min(1.0, plan.seconds / 40), plan.seconds, weigh),
    )
    took = time.monotonic() - began
    done = sum(found.outcomes.values()) - asked
    return {
        "seconds": round(took),
        "capacity, requests/s": round(capacity),
        "asked, requests/s": round(done / took),
        "swaps": swaps.made,
        "workers killed": kills.made,
        "bad clients": sum(nuisance.made for nuisance in nuisances),
        **{name: found.outcomes[name] for name in sorted(found.outcomes)},
        "requests without any answer": found.outcomes["no answer"],
        "p50, ms": round(1000 * float(np.median(found.seconds)), 1),
        "p99, ms": round(1000 * float(np.percentile(found.seconds, 99)), 1),
        **flatness(memory, took),
    }


async def measure(clients: list[asking.Client], found: asking.Found, seconds: float) -> float:
    """Return how many requests a second the clients get answered when they never pause."""
    await asyncio.gather(*(every(0.0, WARM_SECONDS, client.turn) for client in clients))
    before = sum(found.outcomes.values())
    await asyncio.gather(*(every(0.0, seconds, client.turn) for client in clients))
    return (sum(found.outcomes.values()) - before) / seconds


async def every(
    pause: float, seconds: float, turn: Callable[[], Awaitable[None]], first: float = 0.0
) -> None:
    """Take a turn at every tick; those that a slow turn missed in the last second come later."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    due = loop.time() + (first or pause * random.random())
    while due < end:
        await asyncio.sleep(max(0.0, due - loop.time()))
        await turn()
        due = max(due + pause, loop.time() - 1.0)


def flatness(memory: list[float], seconds: float) -> dict[str, float]:
    """Compare the memory of a worker in the last quarter with that in the first, in MiB."""
    quarter = max(1, len(memory) // 4)
    first, last = np.mean(memory[:quarter]), np.mean(memory[-quarter:])
    slope = np.polyfit(np.linspace(0.0, seconds / 60, len(memory)), memory, 1)[0]
    return {
        "memory, first quarter, MiB": round(float(first), 1),
        "memory, last quarter, MiB": round(float(last), 1),
        "memory ratio": round(float(last / first), 3),
        "memory slope, MiB a minute": round(float(slope), 2),
    }


def verify(made: serving.Project, found: asking.Found) -> dict[str, int]:
    """Compare every promise with the log."""
    stored: collections.Counter[str] = collections.Counter()
    kept: set[str] = set()
    log, position = made.log, base.START
    while (batch := log.read(position)).events:
        position = batch.position
        for event in batch.events:
            record = records.unseal(event)
            match record:
                case records.Prediction(error=None) if record.request_id in found.answered:
                    stored[record.request_id] += 1
                    if record.version != found.answered[record.request_id]:
                        found.blame(f"{record.request_id} is stored for {record.version}")
                case records.Feedback() if record.request_id in found.labelled:
                    if record.labels[0] == found.labelled[record.request_id]:
                        kept.add(record.request_id)
                case _:
                    pass
    findings = log.integrity()
    log.close()
    return {
        "wrong or mixed answers": len(found.wrong) + len(findings),
        "acknowledged requests": len(found.answered),
        "acknowledged requests lost": len(found.answered) - len(stored),
        "acknowledged requests stored twice": sum(count > 1 for count in stored.values()),
        "acknowledged labels": len(found.labelled),
        "acknowledged labels lost or changed": len(found.labelled) - len(kept),
    }


if __name__ == "__main__":
    main()
