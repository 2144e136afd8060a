"""Kill the relay in every trouble of a cluster, again and again: does each event arrive?

Each trial waits until a real relay process sends, does something to librdkafka's mock cluster of
three brokers, and kills the relay (SIGKILL) at a random moment after that, while events go on being
committed to its outbox. At the end nothing is in its way any more, and what is in the cluster is
stored as another machine would store it, and compared. `--quick` makes one trial of each trouble
that takes little time.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

sys.path.append(str(Path(__file__).resolve().parents[1]))

import report

from tests.support import events, relaying
from tests.support import kafka as mock

ROUNDS = 3
SEED = 21
BROKERS = (1, 2, 3)
SHORT, LONG = 1.5, 9.0
"""The relay is killed at a random moment up to so many seconds after the trouble; the longer one
lies behind its deadline (5 s), so that it has also ended by itself and was started again."""
CPU_SECONDS = 5.0
FAILING_SECONDS = 3.0
"""A client that fails is looked at for less: with the second before, it has 5 s to live."""
IDLE = 0.05

NOTES = """Each trial waits until a relay sends, brings about a trouble on librdkafka's mock cluster
(3 brokers), and kills the relay with SIGKILL at a random moment. Events go on being committed to
the outbox all the while, ten each 50 ms as long as fewer than 2,000 wait, of which two are about
requests that come up again and again; now and then one is appended to the replica. A relay that
ends by itself (exit code 9 at its deadline of 5 s) is started again at once. *Lost* are
acknowledged events that no other machine has in the end, as they were; *repeated* are records that
readers pass over by the event's id; *duplicates* what a reader has twice in spite of that;
*disordered* what a reader has behind a later event about the same request. The shares of a core are
read from `/proc/PID/stat` over 5 s: of a relay with nothing to send, of one that waits for a
cluster that is down, and (over 3 s) of one whose client fails in every turn, because a broker is
gone that metadata still names as leader. The mock does not deduplicate an idempotent producer, so
what a real broker would drop counts here as repeated."""


def nothing(cluster: mock.Cluster) -> None:
    """Leave a cluster as it is."""
    del cluster


class Trouble(NamedTuple):
    """Something done to a cluster, and how it is made good."""

    name: str
    begin: Callable[[mock.Cluster], None]
    end: Callable[[mock.Cluster], None] = nothing
    seconds: float = SHORT


Row: TypeAlias = dict[str, Any]


def errors_of(code: int) -> Callable[[mock.Cluster], None]:
    """Answer the next eight requests with an error."""
    return lambda cluster: cluster.fail_next([code] * 8)


def move(cluster: mock.Cluster) -> None:
    """Give every partition to the broker after the one whose number it bears."""
    for topic in relaying.TOPICS:
        for part in range(relaying.PARTITIONS):
            cluster.lead(topic, part, BROKERS[(part + 1) % len(BROKERS)])


def lose_one(cluster: mock.Cluster) -> None:
    """Take the third broker down after its partitions were given to others."""
    for topic in relaying.TOPICS:
        for part in range(relaying.PARTITIONS):
            cluster.lead(topic, part, 1 + part % 2)
    cluster.stop(3)


def slow_down(seconds: float) -> Callable[[mock.Cluster], None]:
    """Let every broker answer so much later."""

    def begin(cluster: mock.Cluster) -> None:
        for broker in BROKERS:
            cluster.slow_down(broker, seconds)

    return begin


TROUBLES = (
    Trouble("none", nothing),
    Trouble("NOT_ENOUGH_REPLICAS", errors_of(mock.NOT_ENOUGH_REPLICAS)),
    Trouble("REQUEST_TIMED_OUT", errors_of(mock.REQUEST_TIMED_OUT)),
    Trouble("NOT_LEADER", errors_of(mock.NOT_LEADER)),
    Trouble("leaders move", move),
    Trouble(
        "a slow broker", lambda cluster: cluster.slow_down(1, 0.5), lambda c: c.slow_down(1, 0.0)
    ),
    Trouble("a broker down, others lead", lose_one, lambda cluster: cluster.start(3)),
    Trouble(
        "a broker down, leader in name",
        lambda cluster: cluster.stop(2),
        lambda cluster: cluster.start(2),
        LONG,
    ),
    Trouble(
        "brokers slower than the deadline",
        slow_down(1.4 * relaying.DEADLINE_SECONDS),
        slow_down(0.0),
        LONG,
    ),
    Trouble(
        "all brokers down",
        lambda cluster: cluster.stop(*BROKERS),
        lambda cluster: cluster.start(*BROKERS),
        LONG,
    ),
)


def main() -> None:
    """Run the trials and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    quick = [trouble for trouble in TROUBLES if trouble.seconds == SHORT][::3]
    troubles = quick if options.quick else list(TROUBLES) * ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        rows, found, shares = run(Path(folder), troubles, 1.0 if options.quick else CPU_SECONDS)
    made = report.Report(
        name="relay_trials",
        title="Killed relays: acknowledged events against those that arrived",
        rows=rows,
        targets=[
            report.Target("acknowledged events lost", found.lost, "<=", 0),
            report.Target("duplicates after deduplication", found.duplicates, "<=", 0),
            report.Target("events out of order for their request", found.disordered, "<=", 0),
            report.Target("relays killed", sum(row["killed"] for row in rows), ">=", len(troubles)),
            *(report.Target(name, share, "<=", IDLE) for name, share in shares.items()),
        ],
        packages=("kafka-python", "confluent-kafka"),
        notes=f"{NOTES}\n\n{summary(rows, found)}",
    )
    made.write(options.out)
    sys.exit(0 if all(target.holds for target in made.targets) else 1)


def summary(rows: list[Row], found: relaying.Found) -> str:
    """Say in a sentence what came of all trials together."""
    return (
        f"Of {sum(row['acknowledged'] for row in rows)} acknowledged events {found.lost} were lost "
        f"and {found.repeated} arrived more than once before readers deduplicated."
    )


def run(
    folder: Path, troubles: list[Trouble], cpu_seconds: float
) -> tuple[list[Row], relaying.Found, dict[str, float]]:
    """Make the trials on one machine, then compare, then measure what waiting costs."""
    cluster = mock.Cluster()
    machine = relaying.Machine(folder, cluster)
    try:
        with relaying.Writer(machine) as writer:
            rows = list(trials(machine, writer, troubles))
        machine.drain()
        found = relaying.compare(writer.acknowledged, relaying.arrived(cluster.servers), folder)
        return rows, found, shares(machine, cpu_seconds)
    finally:
        machine.close()
        cluster.close()


def trials(
    machine: relaying.Machine, writer: relaying.Writer, troubles: list[Trouble]
) -> Iterator[Row]:
    """Make one trial for each trouble, one after another."""
    draw = random.Random(SEED)
    for number, trouble in enumerate(troubles, start=1):
        before, ended = len(writer.acknowledged), len(machine.ends)
        until_sending(machine)
        seconds = draw.uniform(0.05, trouble.seconds)
        trouble.begin(machine.cluster)
        keep_for(machine, seconds)
        code = machine.kill()
        trouble.end(machine.cluster)
        row = {
            "trial": number,
            "trouble": trouble.name,
            "killed after": f"{seconds:.2f} s",
            "killed": int(code == -9),
            "ended by itself": machine.ends[ended:].count(9),
            "acknowledged": len(writer.acknowledged) - before,
            "waiting at the end": machine.backlog(),
        }
        print(row, flush=True)
        yield row


def until_sending(machine: relaying.Machine) -> None:
    """Keep a relay running until it marks something that it sent."""
    mark = machine.relayed()
    until = time.monotonic() + relaying.PATIENCE_SECONDS
    while machine.relayed() == mark:
        assert time.monotonic() < until, machine.log()[-2000:]
        machine.keep_running()
        time.sleep(0.02)


def keep_for(machine: relaying.Machine, seconds: float) -> None:
    """Keep a relay running for some seconds; at the end there is one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        machine.keep_running()
        time.sleep(0.02)
    machine.keep_running()


def shares(machine: relaying.Machine, seconds: float) -> dict[str, float]:
    """Measure the share of a core that relays take which get nowhere."""
    until_idle(machine)
    found = {"core of an idle relay": relaying.cpu_share(machine.pid, seconds)}
    machine.cluster.stop(2)
    with relaying.Writer(machine):
        time.sleep(1.0)
    found["core of a relay whose client fails in every turn"] = relaying.cpu_share(
        machine.pid, FAILING_SECONDS
    )
    machine.wait_for_end()
    machine.cluster.stop(*BROKERS)
    waits = machine.log().count("no_broker")
    machine.start()
    machine.wait_until("no_broker", waits + 1)
    found["core of a relay that waits for a cluster"] = relaying.cpu_share(machine.pid, seconds)
    return {name: round(share, 4) for name, share in found.items()}


def until_idle(machine: relaying.Machine) -> None:
    """Let a relay send one more event, and settle."""
    machine.keep_running()
    machine.outbox.append([events.feedback("last")])
    machine.drain()
    time.sleep(1.0)


if __name__ == "__main__":
    main()
