"""The relay against a cluster in trouble, as a process of its own, on librdkafka's mock brokers.

Skipped where confluent-kafka is not installed. `bench/relay_trials.py` does the same at length.
"""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import records
from tests.support import events, relaying
from tests.support import kafka as mock
from tests.support.relaying import Found, Machine

# kafka-python leaves sockets open whose connection was replaced.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

IDLE = 0.05
"""Most of a core that a relay with nothing to do may take."""
NOTHING_AMISS = (0, 0, 0)
"""Events lost, duplicates of a reader, events out of order."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    cluster = mock.Cluster()
    made = Machine(tmp_path, cluster)
    yield made
    made.close()
    cluster.close()
    gc.collect()


def outcome(machine: Machine, appended: list[records.Event], folder: Path) -> Found:
    return relaying.compare(appended, relaying.arrived(machine.cluster.servers), folder)


def judged(found: Found) -> tuple[int, int, int]:
    return found.lost, found.duplicates, found.disordered


def healthy(machine: Machine) -> None:
    """Start a relay and wait until it relays, and knows who leads what."""
    machine.outbox.append(relaying.some(1000))
    machine.start()
    machine.drain()


def test_both_logs_of_a_machine_arrive_and_sigterm_ends_the_relay_in_peace(
    machine: Machine, tmp_path: Path
) -> None:
    served = [event for number in range(0, 200, 10) for event in relaying.some(number)]
    own = [events.command()]
    machine.outbox.append(served)
    machine.replica.append(own)
    machine.replica.receive([events.prediction("from elsewhere")], {("t", 0): 1})
    machine.start()
    machine.drain()

    assert machine.kill(signal.SIGTERM) == 0
    found = outcome(machine, [*served, *own], tmp_path)
    assert (judged(found), found.repeated) == (NOTHING_AMISS, 0)


def test_an_event_that_is_too_large_for_kafka_holds_up_nothing_behind_it(
    machine: Machine, tmp_path: Path
) -> None:
    # The client takes 1 MiB at most.
    large, behind = events.padded(events.feedback(), 2 * 2**20), events.feedback()
    machine.outbox.append([large, behind])
    machine.start()
    machine.drain()

    assert relaying.arrived(machine.cluster.servers) == [behind]
    assert f'"id": "{large.id}"' in machine.log()
    assert judged(outcome(machine, [behind], tmp_path)) == NOTHING_AMISS


def test_errors_that_pass_neither_end_the_relay_nor_lose_or_reorder_anything(
    machine: Machine, tmp_path: Path
) -> None:
    healthy(machine)
    codes = [mock.NOT_ENOUGH_REPLICAS, mock.REQUEST_TIMED_OUT, mock.NOT_LEADER] * 2
    machine.cluster.fail_next(codes)
    with relaying.Writer(machine) as writer:
        time.sleep(0.5)
        machine.cluster.lead("coppice.feedback.v1", 0, 2)
        machine.cluster.lead("coppice.prediction.v1", 1, 3)
        machine.cluster.slow_down(1, 0.2)
        time.sleep(0.5)
    machine.cluster.slow_down(1, 0.0)
    machine.drain()

    assert judged(outcome(machine, writer.acknowledged, tmp_path)) == NOTHING_AMISS
    assert machine.ends == []


def test_a_cluster_that_is_gone_for_longer_than_every_deadline_is_waited_for(
    machine: Machine, tmp_path: Path
) -> None:
    healthy(machine)
    machine.cluster.stop(1, 2, 3)
    appended = [event for number in range(0, 100, 10) for event in relaying.some(number)]
    machine.outbox.append(appended)

    # The client had a connection: it misses its deadline. The next relay waits for one.
    assert machine.wait_for_end() == 9
    machine.start()
    machine.wait_until("no_broker", 1)
    time.sleep(relaying.DEADLINE_SECONDS)
    share = relaying.cpu_share(machine.pid, 2.0)
    ends = list(machine.ends)
    machine.cluster.start(1, 2, 3)
    machine.drain()

    assert share <= IDLE
    assert ends == [9]
    # Counted for the relay that comes next, since the one that missed it is gone.
    assert (machine.home / "relay-failures").read_bytes() == b"1"
    assert judged(outcome(machine, appended, tmp_path)) == NOTHING_AMISS


def test_a_leader_that_is_missing_makes_the_relay_end_and_not_spin(
    machine: Machine, tmp_path: Path
) -> None:
    healthy(machine)
    # Down, yet leader in name: the client's thread now fails in every turn, for ever.
    machine.cluster.stop(2)
    appended = [event for number in range(0, 100, 10) for event in relaying.some(number)]
    machine.outbox.append(appended)
    time.sleep(1.0)
    share = relaying.cpu_share(machine.pid, 2.0)

    assert machine.wait_for_end() == 9
    machine.cluster.start(2)
    machine.drain()
    assert share <= IDLE
    assert judged(outcome(machine, appended, tmp_path)) == NOTHING_AMISS


def test_what_was_not_acknowledged_when_a_relay_is_killed_is_sent_by_the_next_one(
    machine: Machine, tmp_path: Path
) -> None:
    healthy(machine)
    machine.cluster.stop(1, 2, 3)
    appended = relaying.some(0)
    machine.outbox.append(appended)
    # Long enough to send it, were anybody there; the client still has it, and tries again.
    time.sleep(2.0)
    machine.kill()
    waiting = machine.backlog()
    machine.cluster.start(1, 2, 3)
    machine.drain()

    assert waiting == len(appended)
    assert judged(outcome(machine, appended, tmp_path)) == NOTHING_AMISS


def test_a_relay_that_is_killed_repeats_what_it_must_and_no_reader_notices(
    machine: Machine, tmp_path: Path
) -> None:
    healthy(machine)
    with relaying.Writer(machine) as writer:
        time.sleep(0.3)
        assert machine.kill() == -signal.SIGKILL
        machine.start()
        time.sleep(2.0)
        machine.kill()
    machine.drain()

    assert judged(outcome(machine, writer.acknowledged, tmp_path)) == NOTHING_AMISS
