from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from coppice import errors, records
from coppice.testing import MemoryLog
from coppice_cli import export
from coppice_cli.export import Wanted
from tests.support import events

ALL = Wanted()


def at(second: float, event: records.Event) -> records.Event:
    return msgspec.structs.replace(event, time=second)


def filled(*found: records.Event) -> MemoryLog:
    log = MemoryLog()
    log.append(found)
    return log


def test_chunks_hold_every_event_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "CHUNK", 3)
    appended = [events.command() for _ in range(8)]

    found = list(export.chunks(filled(*appended), ALL))

    assert [len(chunk) for chunk in found] == [3, 3, 2]
    assert [event for chunk in found for event in chunk] == appended


def test_events_that_come_during_the_export_are_left_to_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "CHUNK", 1)
    log = filled(events.command(), events.command())
    found = export.chunks(log, ALL)
    next(found)
    log.append([events.command()])

    assert len(list(found)) == 1


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        (ALL, [1.0, 2.0, 3.0]),
        (Wanted(kind=records.Command), [1.0, 3.0]),
        (Wanted(since=2.0), [2.0, 3.0]),
        (Wanted(until=3.0), [1.0, 2.0]),
        (Wanted(records.Feedback, 2.5, 9.0), []),
    ],
)
def test_only_what_is_wanted_comes(wanted: Wanted, seconds: list[float]) -> None:
    log = filled(at(1, events.command()), at(2, events.feedback()), at(3, events.command()))

    assert [e.time for chunk in export.chunks(log, wanted) for e in chunk] == seconds


def test_tensors_are_whole() -> None:
    found = export.row(events.prediction())

    assert found["record"]["outputs"] == {
        "scores": {"dtype": "float32", "shape": [1, 2], "values": [[0.25, 0.75]]}
    }
    assert found["problem"] is None


def test_numbers_that_json_lacks_become_null() -> None:
    tensor = records.Tensor.of(np.array([np.nan, 1.0], dtype=np.float32))
    record = records.Shadow(
        request_id="r",
        model="m",
        version="m:1",
        role="candidate",
        against="m:2",
        outputs={"x": tensor},
    )
    out = io.StringIO()

    export.json_lines([[records.seal(record, source="tests", now=0.0)]], out)

    assert json.loads(out.getvalue())["record"]["outputs"]["x"]["values"] == [None, 1.0]


def test_a_record_that_does_not_decode_is_exported_with_its_problem() -> None:
    found = export.row(events.padded(events.command(), 3))

    assert found["record"] is None
    assert "does not decode" in found["problem"]


def test_parquet_has_one_row_per_event_and_its_record_as_json(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    appended = [events.prediction(), events.padded(events.command(), 3)]

    written = export.parquet([appended[:1], appended[1:]], path)

    frame = pd.read_parquet(path)
    assert written == 2
    assert tuple(frame.columns) == export.COLUMNS
    assert frame["id"].tolist() == [event.id for event in appended]
    assert json.loads(frame["record"][0])["request_id"] == "request-1"
    assert frame["record"].isna().tolist() == [False, True]


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(errors.EnvironmentProblem, match=r"coppice\[parquet\]"):
        export.parquet([], tmp_path / "x.parquet")


def test_a_copy_twice_is_a_copy_once() -> None:
    source, target = filled(events.command(), events.feedback()), MemoryLog()

    export.copy(export.chunks(source, ALL), target)
    export.copy(export.chunks(source, ALL), target)

    assert target.read("").events == source.read("").events
