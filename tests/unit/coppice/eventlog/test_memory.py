from __future__ import annotations

from coppice.eventlog import base
from coppice.eventlog.memory import MemoryLog
from tests.support import events


def test_two_logs_share_nothing() -> None:
    first, second = MemoryLog(), MemoryLog()

    first.append([events.command()])

    assert second.end() == base.START


def test_a_position_counts_the_events_before_it() -> None:
    log = MemoryLog()

    log.append([events.command(), events.command()])

    assert log.end() == "2"


def test_a_position_beyond_the_end_reads_nothing_and_stays() -> None:
    log = MemoryLog()

    assert log.read("7") == base.Batch([], "7")
