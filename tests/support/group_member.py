"""One monitor of a group as a process of its own, for tests.

Usage: python -m tests.support.group_member FOLDER SERVERS PREFIX NAME SECTIONS

FOLDER holds a world's registry; SECTIONS are the settings' tables as JSON. After each turn in which
it concluded something, what it found is in FOLDER/NAME.json, and beside it what it holds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import structlog
from kafka.coordinator.assignors.range import RangePartitionAssignor

from coppice import clock, files, signals, testing
from coppice.eventlog.kafka import Options
from coppice.eventlog.kafka_group import GroupReader
from coppice.settings import Settings
from monitoring import feed, group, status
from monitoring.recorder import Recorder

MODEL = "tiny"
LEAD_SECONDS = 0.5


class Found(msgspec.Struct):
    """What a member tells a test of itself."""

    owned: int
    judges: bool
    folded: int = 0
    late: int = 0
    duplicates: int = 0
    verdicts: list[tuple[str, str | None, dict[str, int], dict[str, float], str]] = []


def said(seen: status.Status | None) -> list[tuple[str, str | None, dict, dict, str]]:
    """What verdicts are: their kind, their cause, what was counted, the evidence, the reason."""
    if seen is None:
        return []
    return [
        (verdict.kind, verdict.cause, verdict.counts, verdict.evidence, verdict.reason)
        for verdict in (seen.champion_verdict, seen.candidate_verdict)
        if verdict is not None
    ]


def look(monitor: group.GroupMonitor) -> Found:
    judge = monitor._aggregator
    found = Found(monitor._member.owned, judge is not None, verdicts=said(monitor.status()))
    if judge is not None:
        found.folded = judge.folded
        found.late, found.duplicates = judge.ordering.late, judge.ordering.duplicates
    return found


def let_the_others_ask_first() -> None:
    """Keep the group's leader from giving out shares at once.

    The mock brokers refuse a member that asks for its share after the leader gave it out, and all
    join anew, for as long as it takes; real ones answer it.
    """
    assign = RangePartitionAssignor.assign.__func__

    def slowly(cls: type, cluster: object, members: object) -> object:
        time.sleep(LEAD_SECONDS)
        return assign(cls, cluster, members)

    RangePartitionAssignor.assign = classmethod(slowly)


def main(folder: Path, servers: str, prefix: str, name: str, sections: str) -> None:
    let_the_others_ask_first()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    stop = signals.stop_requested()
    tree = Settings(
        root=folder, project={"name": MODEL, "task": "binary"}, **msgspec.json.decode(sections)
    )
    options = Options(tuple(servers.split(",")), prefix=prefix, deadline_seconds=20.0)
    monitor = group.GroupMonitor(
        GroupReader(options, tree.monitor.group, feed.KINDS),
        testing.MemoryLog(),
        testing.MemoryRegistry(folder / "registry"),
        tree,
        clock.SystemClock(),
        Recorder(MODEL),
    )
    before = b""

    def told() -> bool:
        nonlocal before
        now = msgspec.json.encode(look(monitor))
        if now != before:
            files.replace(folder / f"{name}.json", now)
            before = now
        return stop()

    monitor.run(told)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
