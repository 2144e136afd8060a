"""What a rate of requests needs, computed from measured costs: cores, partitions, disk.

`python bench/capacity.py` puts the figures of `results/eventlog.json` and `results/monitors.json`
into `docs/capacity.md`, between the two marks; a test compares the two. Everything here but the
files is pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "capacity.md"
BEGIN, END = "<!-- capacity: begin -->", "<!-- capacity: end -->"
AS_PLANNED = "10% mirrored, 5% labelled"
"""The load of `bench/monitors.py` that is the one of `Load`."""
OURS = "our event: MessagePack, raw tensors"
DAY_SECONDS = 86_400


class Costs(NamedTuple):
    """Seconds of one core for each event at each stage, and bytes of each event.

    Attributes
    ----------
    answer
        Of the server for a request over HTTP, the commit and a tiny model included.
    commit
        Making, sealing and committing a prediction event, in groups.
    send, receive
        Our Kafka client for an event, out and in; the brokers' own work is not in it.
    read
        Reading an event from SQLite and decoding it.
    store
        Committing an event that came from Kafka, in groups.
    fold, join
        The monitor's work on a prediction and on a label.
    judge
        Of the one member of a group that judges, for all facts of a request.
    stored_bytes, sent_bytes
        Of a prediction with 30 numbers: its row, and its record with headers.
    large_bytes
        Of the row of a prediction with 1,024 numbers.
    """

    answer: float
    commit: float
    send: float
    receive: float
    read: float
    store: float
    fold: float
    join: float
    judge: float
    stored_bytes: int
    sent_bytes: int
    large_bytes: int


class Load(NamedTuple):
    """What is asked for, and what is assumed; the defaults are those of the note.

    Attributes
    ----------
    requests
        A second, of one row each.
    label_share
        Of the requests, how many get feedback.
    mirror_share
        Of the requests, how many are mirrored to one other version.
    model_seconds
        Of one core for one answer of the real model, beyond our own work.
    busy
        Share of a core that is planned to be used.
    index_factor
        Bytes in the file for each byte of a row: indexes and half-empty pages.
    replication
        Copies that Kafka keeps.
    local_days, kafka_days
        Retention of the machines' own logs, and of Kafka.
    """

    requests: float
    label_share: float = 0.05
    mirror_share: float = 0.1
    model_seconds: float = 0.0002
    busy: float = 0.6
    index_factor: float = 1.6
    replication: int = 3
    local_days: float = 1.0
    kafka_days: float = 7.0


class Plan(NamedTuple):
    """What a load needs.

    Attributes
    ----------
    events
        A second: predictions, feedback and shadow answers.
    servers, relays, monitors
        Cores of each. A machine has one relay, on one core, so as many machines serve at least.
    partitions
        Of each topic of events about requests: twice the monitors, so that they can grow.
    replica_rate
        Events a second that one follower can store on one core.
    judge_rate
        Requests a second whose facts one member can fold on one core; a group has one that does.
    local_bytes, large_bytes
        On all servers' disks together; the second where a request has 1,024 numbers.
    kafka_bytes
        On all brokers' disks together.
    kafka_rate
        Bytes a second into the brokers, copies not counted.
    """

    events: float
    servers: int
    relays: int
    monitors: int
    partitions: int
    replica_rate: float
    judge_rate: float
    local_bytes: float
    large_bytes: float
    kafka_bytes: float
    kafka_rate: float


def plan(load: Load, costs: Costs) -> Plan:
    """Compute what a load needs.

    >>> costs = Costs(2e-4, 1e-5, 1e-4, 1e-4, 5e-6, 1e-5, 3e-5, 2e-5, 1e-5, 999, 1200, 5000)
    >>> found = plan(Load(1000.0, label_share=0.0, mirror_share=0.0, busy=0.5), costs)
    >>> found.servers, found.relays, found.monitors, found.partitions
    (1, 1, 1, 2)
    """
    labels, mirrored = load.requests * load.label_share, load.requests * load.mirror_share
    events = load.requests + labels + mirrored
    # A mirrored request costs the model once more, and a commit.
    serving = load.requests * (costs.answer + load.model_seconds)
    serving += mirrored * (load.model_seconds + costs.commit) + labels * costs.commit
    relaying = events * (costs.read + costs.send)
    folding = events * costs.receive + (load.requests + mirrored) * costs.fold + labels * costs.join
    monitors = _cores(folding, load.busy)
    day = DAY_SECONDS * events
    kept = day * load.local_days * load.index_factor
    return Plan(
        events=events,
        servers=_cores(serving, load.busy),
        relays=_cores(relaying, load.busy),
        monitors=monitors,
        partitions=2 * monitors,
        replica_rate=load.busy / (costs.receive + costs.store),
        judge_rate=load.busy / costs.judge,
        local_bytes=kept * costs.stored_bytes,
        large_bytes=kept * costs.large_bytes,
        kafka_bytes=day * load.kafka_days * costs.sent_bytes * load.replication,
        kafka_rate=events * costs.sent_bytes,
    )


def _cores(seconds: float, busy: float) -> int:
    """Cores that do so many seconds of work each second.

    >>> _cores(1.2, busy=0.6)
    2
    """
    # Not a core more where the division is off by the last bit.
    return max(1, math.ceil(round(seconds / busy, 9)))


def costs(rows: Sequence[Mapping[str, Any]], monitors: Sequence[Mapping[str, Any]]) -> Costs:
    """Take the costs out of the rows of the benchmarks of the event log and of monitors."""

    def one(part: str, contestant: str, column: str) -> float:
        return next(
            float(row[column])
            for row in rows
            if row["part"] == part and row["contestant"] == contestant
        )

    def cpu(part: str, contestant: str) -> float:
        return one(part, contestant, "CPU us/event") / 1e6

    small = "encoding, 30 numbers"
    return Costs(
        answer=one("beside", "server alone", "server CPU us/answer") / 1e6,
        commit=cpu("beside", "appender alone, flat out"),
        send=cpu("kafka", "512 an append"),
        receive=cpu("stages", "read, Kafka (mock)"),
        read=cpu("stages", "read and decode, SQLite"),
        store=cpu("commit, 1 KiB", "NORMAL, 128 a commit"),
        fold=cpu("stages", "monitor: a prediction decoded and folded"),
        join=cpu("stages", "label join: feedback of known requests"),
        judge=next(
            float(row["judge, CPU us/request"]) for row in monitors if row["load"] == AS_PLANNED
        )
        / 1e6,
        stored_bytes=int(one(small, OURS, "bytes")),
        sent_bytes=int(one(small, "CloudEvents binary (Kafka)", "bytes")),
        large_bytes=int(one("encoding, 1024 numbers", OURS, "bytes")),
    )


STAGES = {
    "server: an answer over HTTP, its commit and a tiny model included": "answer",
    "outbox: make, seal and commit a prediction, in groups": "commit",
    "relay: read and decode from SQLite": "read",
    "relay: append to Kafka, our client alone (mock brokers, a floor)": "send",
    "follower or monitor: read from Kafka, our client alone (mock brokers, a floor)": "receive",
    "follower: commit to the replica, in groups": "store",
    "monitor: decode and fold a prediction": "fold",
    "monitor: join a label": "join",
    "the monitor of a group that judges: fold the facts of a request": "judge",
}
RATES = (1_000, 10_000, 100_000)


def text(found: Costs) -> str:
    """The measured costs and the plans, as Markdown tables."""
    lines = ["| stage | CPU us an event | events/s of one core |", "| --- | --- | --- |"]
    for name, field in STAGES.items():
        seconds = getattr(found, field)
        lines.append(f"| {name} | {1e6 * seconds:.1f} | {_round(1 / seconds):,} |")
    plans = [plan(Load(float(rate)), found) for rate in RATES]
    lines += ["", f"| requests/s | {' | '.join(f'{rate:,}' for rate in RATES)} |"]
    lines.append("| --- |" + " --- |" * len(RATES))
    rows = {
        "events/s (with labels and mirrored answers)": [f"{_round(p.events):,}" for p in plans],
        "cores for servers": [f"{p.servers:,}" for p in plans],
        "cores for relays, one a machine: so many machines serve at least": [
            f"{p.relays:,}" for p in plans
        ],
        "cores for monitors": [f"{p.monitors:,}" for p in plans],
        "partitions of a topic": [f"{p.partitions:,}" for p in plans],
        "events/s that one replica on one core takes": [
            _rate(p.replica_rate, p.events) for p in plans
        ],
        "requests/s that the one monitor that judges takes": [
            _rate(p.judge_rate, rate) for p, rate in zip(plans, RATES, strict=True)
        ],
        "disk of all servers, one day, 30 numbers a request": [_gb(p.local_bytes) for p in plans],
        "disk of all servers, one day, 1,024 numbers": [_gb(p.large_bytes) for p in plans],
        "disk of all brokers, seven days, three copies, 30 numbers": [
            _gb(p.kafka_bytes) for p in plans
        ],
        "into the brokers": [f"{p.kafka_rate / 1e6:.0f} MB/s" for p in plans],
    }
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join(lines)


def _rate(most: float, wanted: float) -> str:
    return f"{_round(most):,}{'' if wanted <= most else ', too few'}"


def _gb(size: float) -> str:
    return f"{_round(size / 1e9):,} GB"


def _round(value: float) -> int:
    """Two digits that count.

    >>> _round(12345.0), _round(0.7)
    (12000, 1)
    """
    digits = 1 - math.floor(math.log10(value)) if value >= 10 else 0
    return int(round(value, digits))


def filled(document: str, found: Costs) -> str:
    """The document with the figures between its marks renewed."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{text(found)}\n{END}{tail}"


def read() -> Costs:
    """The costs that the last committed runs of the benchmarks measured."""
    log, monitors = (
        json.loads((RESULTS / name).read_text("utf-8"))["rows"]
        for name in ("eventlog.json", "monitors.json")
    )
    return costs(log, monitors)


def main() -> None:
    """Renew the figures of the document."""
    DOCUMENT.write_text(filled(DOCUMENT.read_text("utf-8"), read()), "utf-8")
    print(text(read()))


if __name__ == "__main__":
    main()
