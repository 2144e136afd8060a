"""What a request costs a monitor, by part: what members of a group share, and what one must do.

Run it as `make bench-monitors` (a minute). CPU times of one process over requests to a tiny model
of four inputs; reading from the log or from Kafka is not in them. `bench/capacity.py` takes from
the results how many requests the one that judges can fold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

sys.path.append(str(Path(__file__).resolve().parents[1]))

import report

from coppice import records, settings
from monitoring import facts, fold, intake, knowledge, shard, state, versions
from tests.support import worlds

REQUESTS = 8000
BATCH = 500
"""Facts that are encoded together, and requests that are made together."""
ROUNDS = 5
QUICK = 500
"""Requests of a quick run, which is of two rounds."""
S = TypeVar("S")
T = TypeVar("T")

NOTES = """The least of five rounds, CPU time of one process in user and kernel, over requests to a
tiny model of four inputs, with windows of drift as they are by default; reading from the log or
from Kafka is not in it, nor are verdicts. *alone* is a single monitor. In a group each *member*
reads, reduces and joins the events of its partitions and encodes facts of them; one of them also
*judges*: it decodes and folds the facts of every request, so one core bounds how many requests a
group can take. The second load is that of `docs/capacity.md`."""


class Load(NamedTuple):
    """Which share of the requests is mirrored, and which is labelled."""

    name: str
    mirrored: float
    labelled: float


LOADS = (
    Load("all mirrored, half labelled", 1.0, 0.5),
    Load("10% mirrored, 5% labelled", 0.1, 0.05),
)


def traffic(world: worlds.World, load: Load, requests: int) -> list[records.Event]:
    """Make requests during a trial, and what comes with them."""
    champion = world.version(*worlds.FAITHFUL)
    world.rollout(champion)
    candidate = world.version(*worlds.FAITHFUL)
    world.rollout(champion, candidate=candidate)
    mirrored, labelled = int(BATCH * load.mirrored), int(BATCH * load.labelled)
    for _ in range(0, requests, BATCH):
        if mirrored < BATCH:
            world.serve(BATCH - mirrored, champion, labelled=False)
        ids = world.serve(mirrored, champion, mirrors=[(candidate, "candidate")], labelled=False)
        world.label(ids[:labelled])
        world.clock.advance(1.0)
    return world.log.read("", 10 * requests).events


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds of CPU, and what was made."""
    began = time.process_time()
    made = work()
    return time.process_time() - began, made


def each(take: Callable[[S], None], given: list[S]) -> None:
    """Let everything be taken in."""
    for item in given:
        take(item)


def once(
    found: list[records.Event], known: versions.Versions, tree: settings.Settings
) -> dict[str, float]:
    """Measure every part once, seconds; and the bytes of the facts."""
    apart, scorings = state.State.empty(tree), knowledge.Scorings(known)
    alone = intake.Intake(state.State.empty(tree), tree, known)
    part = shard.Shard(apart.requests, {}, tree, scorings)
    whole = fold.Fold(apart, tree, known, scorings)
    single, _ = timed(lambda: each(alone.take, found))
    sharded, told = timed(lambda: [fact for fact in map(part.take, found) if fact is not None])
    starts = range(0, len(told), BATCH)
    encoding, sent = timed(lambda: [facts.encode(told[at : at + BATCH]) for at in starts])
    decoding, got = timed(lambda: [fact for batch in sent for fact in facts.decode(batch)])
    folding, _ = timed(lambda: each(whole.take, got))
    return {
        "alone": single,
        "member": sharded + encoding,
        "judge": decoding + folding,
        "bytes": float(sum(map(len, sent))),
    }


def row(load: Load, requests: int, rounds: int) -> dict[str, str | float]:
    """Measure a load: the least of some rounds, for each request."""
    with tempfile.TemporaryDirectory() as folder:
        world = worlds.World(Path(folder))
        found = traffic(world, load, requests)
        # The first round also calibrates the detectors, which is done once for a version.
        known = versions.Versions(world.registry, world.settings)
        measured = [once(found, known, world.settings) for _ in range(rounds)]
    best = {name: min(one[name] for one in measured) / requests for name in measured[0]}
    return {
        "load": load.name,
        "alone, CPU us/request": round(1e6 * best["alone"], 1),
        "member, CPU us/request": round(1e6 * best["member"], 1),
        "judge, CPU us/request": round(1e6 * best["judge"], 1),
        "judge / alone": round(best["judge"] / best["alone"], 2),
        "bytes of facts": round(best["bytes"]),
        "bytes of events": round(sum(len(event.data) for event in found) / requests),
    }


def main() -> None:
    """Measure every load and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few requests, two rounds")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    requests, rounds = (QUICK, 2) if options.quick else (REQUESTS, ROUNDS)
    rows = [row(load, requests, rounds) for load in LOADS]
    report.Report(
        name="monitors",
        title="What a request costs a monitor, alone and in a group",
        rows=rows,
        targets=[],
        packages=("msgspec", "numpy", "evidently"),
        notes=NOTES,
    ).write(options.out)


if __name__ == "__main__":
    main()
