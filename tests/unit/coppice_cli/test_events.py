from __future__ import annotations

import itertools

import numpy as np
import pytest

from coppice import errors, records
from coppice.testing import ManualClock, MemoryLog
from coppice_cli import events


def _command(action: records.Action = "pause") -> records.Command:
    return records.Command(model="tiny", action=action, actor="ada")


def _verdict() -> records.Verdict:
    return records.Verdict(
        model="tiny", version="tiny:a", scope="champion", kind="healthy", reason="fine"
    )


def _log(*found: records.Record) -> MemoryLog:
    log = MemoryLog()
    log.append(
        [
            records.seal(record, source="test", now=float(second))
            for second, record in enumerate(found)
        ]
    )
    return log


def test_the_newest_events_come_oldest_first() -> None:
    log = _log(_command("pause"), _command("resume"), _command("abort"))
    batch = events.newest(log, 2, None)
    assert [records.unseal(event).action for event in batch.events] == ["resume", "abort"]
    assert batch.position == log.end()


def test_an_empty_log_has_no_newest_events() -> None:
    assert events.newest(MemoryLog(), 5, None).events == []


def test_a_rare_kind_is_found_behind_many_others() -> None:
    # One verdict, then more commands than one chunk holds.
    log = _log(_verdict(), *([_command()] * (events.CHUNK + 5)))
    batch = events.newest(log, 1, records.Verdict)
    assert [event.type for event in batch.events] == ["coppice.verdict.v1"]


def test_new_events_are_followed_from_a_position() -> None:
    log = _log(_command())
    batch = events.newest(log, 1, None)
    log.append([records.seal(_verdict(), source="test", now=9.0)])
    followed = events.follow(log, batch.position, None, ManualClock())
    assert [event.time for event in itertools.islice(followed, 1)] == [9.0]


def test_counts_are_by_type_with_first_and_last_time() -> None:
    found = events.counts(_log(_command(), _verdict(), _command()))
    assert found == [
        events.Count("coppice.command.v1", 2, 0.0, 2.0),
        events.Count("coppice.verdict.v1", 1, 1.0, 1.0),
    ]


def test_tensors_are_abbreviated() -> None:
    record = records.Prediction(
        request_id="r",
        model="tiny",
        version="tiny:a",
        lane="stable",
        propensity=1.0,
        key_hash="k",
        inputs={"x": records.Tensor.of(np.arange(8, dtype=np.float32).reshape(2, 4))},
        latency_seconds=0.001,
    )
    shown = events.plain(records.seal(record, source="test", now=0.0))
    assert shown["record"]["inputs"] == {
        "x": {"dtype": "float32", "shape": [2, 4], "first": [0.0, 1.0, 2.0, 3.0]}
    }
    assert shown["time"] == "1970-01-01T00:00:00.000Z"
    assert shown["subject"] == "r"


def test_an_event_that_does_not_decode_is_shown_with_its_problem() -> None:
    broken = records.Event("1", "coppice.command.v1", "test", 0.0, "tiny", "tiny", b"\xc1")
    assert "does not decode" in events.plain(broken)["problem"]


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(errors.EventLogError, match="known: candidate, command, feedback"):
        events.kind_of("verdicts")


def test_every_kind_of_record_has_its_word() -> None:
    assert set(events.KINDS.values()) == set(records.TYPES.values())
