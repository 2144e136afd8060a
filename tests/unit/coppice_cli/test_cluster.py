"""How commands read a log in Kafka; on brokers they are tried in tests/integration."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coppice import records
from coppice.eventlog import base, offsets
from coppice_cli import cluster
from tests.support import events

TOPIC = "coppice.command.v1"


class Log:
    """A partition of one topic, of which each read gives at most two records."""

    def __init__(self, found: Sequence[records.Event]) -> None:
        self.found = list(found)

    def read(self, after: base.Position, limit: int = 1000) -> base.Batch:
        start = offsets.decode(after).get(TOPIC, {}).get("0", 0)
        new = self.found[start : start + min(limit, 2)]
        return base.Batch(new, offsets.encode({TOPIC: {"0": start + len(new)}}))

    def end(self) -> base.Position:
        return offsets.encode({TOPIC: {"0": len(self.found)}})


SENT = [msgspec.structs.replace(events.command(), time=float(number)) for number in range(5)]


def test_a_snapshot_ends_where_the_log_did_though_more_is_written() -> None:
    log = Log(SENT[:2])
    snapshot = cluster.Snapshot(log)
    log.found += SENT[2:]
    first = snapshot.read(base.START)
    assert first.events == SENT[:2]
    assert snapshot.read(first.position) == base.Batch([], first.position)
    assert snapshot.end() == first.position


def test_the_newest_are_read_from_so_many_before_the_end() -> None:
    found = cluster.newest(Log(SENT), 3, None)
    assert found == base.Batch(SENT[2:], '{"coppice.command.v1":{"0":5}}')


def test_what_a_relay_repeated_is_shown_once_however_far_apart() -> None:
    repeated = [*SENT[:3], *SENT[:3], SENT[3]]
    assert cluster.newest(Log(repeated), 7, None).events == SENT[:4]


def test_of_the_newest_only_the_kind_that_is_wanted_is_shown() -> None:
    prediction = msgspec.structs.replace(events.prediction(), time=9.0)
    assert cluster.newest(Log([*SENT, prediction]), 6, records.Prediction).events == [prediction]
