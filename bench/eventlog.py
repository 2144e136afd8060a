"""The event log: what a commit, an encoding, a send and a read cost, and 10,000 events a second.

Commit policies beside plain files, encodings of one prediction event, appends to Kafka's mock
brokers, reading and monitoring, and an appender beside the real server under load: all in one run,
in interleaved rounds. `--quick` makes one short round of fewer contestants.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import beside
import capacity
import commits
import event_encodings
import report
import samples
import stages

RATE = 10_000.0
"""Prediction events a second that the log must sustain on one core beside the server."""
BASE_BATCH = "NORMAL, 1 a commit"


@dataclass(frozen=True)
class Scale:
    """How much is run: rounds, seconds of each contestant, events read and of a large log."""

    rounds: int
    commit_seconds: float
    encodings: int
    kafka_seconds: float
    beside_seconds: float
    events: int
    grown: int
    quick: bool = False


FULL = Scale(
    rounds=3,
    commit_seconds=0.5,
    encodings=2000,
    kafka_seconds=1.0,
    beside_seconds=5.0,
    events=20_000,
    grown=300_000,
)
QUICK = Scale(
    rounds=1,
    commit_seconds=0.05,
    encodings=20,
    kafka_seconds=0.1,
    beside_seconds=0.3,
    events=2000,
    grown=2000,
    quick=True,
)

NOTES = """Medians over three interleaved rounds, percentiles over all of them; *CPU us/event* is
time of the processor of the contestant alone, in user and kernel, and moves less than the clock
when the machine is busy.

*commit*: events of 1 and 8 KiB. OFF, NORMAL and FULL are SQLite's `synchronous` under our log
(OFF is a bound: no setting gives it); `events.durability = "process"` is NORMAL, `"power-loss"` is
FULL. *file* is a plain append with a flush or with fdatasync: what the disk can do, without order
between processes, look-ups or passing over of repeated events. The server groups what waits into
one commit, so under load its batch is the number of requests in flight.

*large log*: 128 events of 1 KiB a commit, NORMAL, to a log that held 300,000 before. Request ids
that are no order of time scatter the index by request over the file.

*encoding*: one prediction with 30 numbers, and one with 8 x 128. Bytes of CloudEvents leave out
Kafka's own framing; *payload alone* has no envelope.

*kafka*: our Kafka log against librdkafka's mock brokers in a process of their own, on loopback: a
floor of our client's cost, no statement about a cluster.

*stages*: what follows the commit; reading from Kafka is our client against the mock brokers, too.
The monitor's log lies in memory there, so that its row adds to that of reading; its labels are
those of the last predictions.

*beside*: the real server pinned to one core and saturated over HTTP, and an appender that makes,
seals and commits prediction events (30 numbers) in a process of its own. *Due* events are offered
at 10,500 a second whatever happens; *lag* is from when the first event of a commit was due until it
was committed. *server's own file* means that two processes write to one file, of which SQLite lets
one at a time. The clients have the server's core, or the other one where the appender is on the
server's."""


def main() -> None:
    """Run everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), scale)
    rows = found.rows()
    report.Report(
        name="eventlog",
        title="The event log: commits, encodings, stages, and a server beside",
        rows=rows,
        targets=found.targets(),
        packages=("msgspec", "kafka-python", "confluent-kafka", "bentoml", "onnxruntime", "numpy"),
        notes=NOTES,
    ).write(options.out)
    if options.out == report.RESULTS and not options.quick:
        capacity.main()
    sys.exit(0 if options.quick or all(target.holds for target in found.targets()) else 1)


class Found:
    """What the rounds gave, by contestant."""

    def __init__(self, scale: Scale) -> None:
        self.committed: dict[commits.Commit, list[samples.Sample]] = defaultdict(list)
        self.grown: dict[str, list[samples.Sample]] = defaultdict(list)
        self.encoded: dict[tuple[str, int], list[event_encodings.Cost]] = defaultdict(list)
        self.sent: dict[int, list[samples.Sample]] = defaultdict(list)
        self.staged: dict[str, list[samples.Sample]] = defaultdict(list)
        self.ran: dict[str, list[beside.Run]] = defaultdict(list)
        self._scale = scale

    def rows(self) -> list[dict[str, Any]]:
        """Every row of the report, part by part."""
        return [
            *self._commit_rows(),
            *self._plain_rows("large log", self.grown),
            *self._encoding_rows(),
            *self._plain_rows("kafka", {f"{n} an append": found for n, found in self.sent.items()}),
            *self._plain_rows("stages", self.staged),
            *({"part": "beside", **beside.row(name, runs)} for name, runs in self.ran.items()),
        ]

    def targets(self) -> list[report.Target]:
        """What the log must sustain."""
        return [
            report.Target(f"events a second, {name}", beside.rate(self.ran[name]), ">=", RATE)
            for name in (beside.FLAT_OUT, beside.PACED, beside.SHARED)
        ]

    def _commit_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for size in sorted({one.size for one in self.committed}):
            ours = {one: found for one, found in self.committed.items() if one.size == size}
            some = [{"contestant": one.name, **samples.figures(f)} for one, f in ours.items()]
            to = BASE_BATCH if not self._scale.quick else str(some[0]["contestant"])
            part = f"commit, {size // 1024} KiB"
            rows += ({"part": part, **row} for row in samples.with_ratio(some, "events/s", to))
        return rows

    def _encoding_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for columns in sorted({columns for _, columns in self.encoded}):
            some = [
                event_encodings.row(contestant, self.encoded[contestant.name, columns])
                for contestant in event_encodings.ENCODINGS
            ]
            part = f"encoding, {columns} numbers"
            ratios = samples.with_ratio(some, "encode us", event_encodings.OURS)
            rows += ({"part": part, **row} for row in ratios)
        return rows

    @staticmethod
    def _plain_rows(part: str, found: dict[str, list[samples.Sample]]) -> list[dict[str, Any]]:
        return [
            {"part": part, "contestant": name, **samples.figures(several)}
            for name, several in found.items()
        ]


def run(folder: Path, scale: Scale) -> Found:
    """Run every contestant once a round."""
    found = Found(scale)
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(stages.mock_cluster())
        bench = stack.enter_context(beside.bench(folder))
        grown = {
            name: stack.enter_context(
                contextlib.closing(commits.Grown(make, folder / f"grown-{place}", scale.grown))
            )
            for place, (name, make) in enumerate(commits.IDS.items())
        }
        for number in range(scale.rounds):
            for one in commits.contestants(quick=scale.quick):
                found.committed[one].append(commits.measure(one, folder, scale.commit_seconds))
            for name, log in grown.items():
                found.grown[name].append(log.measure(4 * scale.commit_seconds))
            _encode(found, scale)
            _stage(found, scale, servers, folder / f"world-{number}")
            for setting in beside.SETTINGS:
                found.ran[setting.name].append(bench.run(setting, scale.beside_seconds))
            print(f"round {number + 1} of {scale.rounds}", flush=True)
    return found


def _stage(found: Found, scale: Scale, servers: tuple[str, ...], folder: Path) -> None:
    for batch in stages.KAFKA_BATCHES:
        found.sent[batch].append(stages.to_kafka(servers, batch, scale.kafka_seconds))
    found.staged[stages.FROM_KAFKA].append(stages.from_kafka(servers, scale.events))
    found.staged[stages.READ].append(stages.read(folder.parent, scale.events))
    for name, sample in stages.monitor(folder, scale.events).items():
        found.staged[name].append(sample)


def _encode(found: Found, scale: Scale) -> None:
    for shape in ((1, event_encodings.COLUMNS), event_encodings.LARGE):
        record = event_encodings.record("018f-request", shape)
        for contestant in event_encodings.ENCODINGS:
            cost = event_encodings.measure(contestant, record, scale.encodings)
            found.encoded[contestant.name, shape[0] * shape[1]].append(cost)


if __name__ == "__main__":
    main()
