from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import errors, records, runtime, settings
from coppice.eventlog.memory import MemoryLog
from coppice.eventlog.sqlite import SqliteLog
from service import batch_events, batch_rows
from service.batch_events import Ledger

CAP = 2**20
TENTH = CAP // 10


def tree(folder: Path, **events: Any) -> settings.Settings:
    return settings.from_tree({"project": {"name": "tiny"}, "events": events}, root=folder)


def batch(first: int, rows: int = 2, inputs: dict[str, batch_rows.Array] | None = None) -> Any:
    answers = runtime.Answers(
        np.full((rows, 2), 0.5, np.float32), np.full((rows, 1), 3.0, np.float32)
    )
    found = inputs or {"x": np.full((rows, 4), float(first), np.float32)}
    return batch_events.Batch(first, found, answers, 0.25)


def ledger(log: Any, made: settings.Settings, job: str = "score-1") -> Ledger:
    return Ledger(log, made, job=job, version="tiny-aaa")


def predictions(log: MemoryLog | SqliteLog) -> list[records.Prediction]:
    found = [records.unseal(event) for event in log.read("", 1000).events]
    assert all(isinstance(record, records.Prediction) for record in found)
    return found  # type: ignore[return-value]  # just asserted


def test_a_batch_is_a_prediction_of_its_rows(tmp_path: Path) -> None:
    log = MemoryLog()
    ledger(log, tree(tmp_path)).write([batch(7)])
    (found,) = predictions(log)
    assert (found.model, found.version, found.request_id) == (
        *("tiny.offline", "tiny-aaa"),
        "score-1-7",
    )
    assert found.inputs["x"].array().tolist() == [[7.0] * 4] * 2
    assert found.outputs["scores"].array().tolist() == [[0.5, 0.5]] * 2
    assert found.features is not None
    assert found.features.array().tolist() == [[3.0], [3.0]]
    assert found.latency_seconds == 0.25


def test_the_capture_policy_holds_for_what_is_scored_offline_too(tmp_path: Path) -> None:
    log = MemoryLog()
    inputs: dict[str, batch_rows.Array] = {
        "x": np.ones((2, 4), np.float32),
        "secret": np.ones(2, np.float32),
        "text": np.array(["ada", "bob"], dtype=object),
    }
    made = tree(tmp_path, capture={"secret": "drop"})
    ledger(log, made).write([batch(0, inputs=inputs)])
    assert list(predictions(log)[0].inputs) == ["x"]


def test_a_batch_that_is_written_again_is_there_once(tmp_path: Path) -> None:
    log = MemoryLog()
    ledger(log, tree(tmp_path)).write([batch(0), batch(2)])
    ledger(log, tree(tmp_path)).write([batch(2), batch(4)])
    assert [record.request_id for record in predictions(log)] == [
        "score-1-0",
        "score-1-2",
        "score-1-4",
    ]


def test_the_same_rows_of_another_job_are_other_events(tmp_path: Path) -> None:
    log = MemoryLog()
    ledger(log, tree(tmp_path)).write([batch(0)])
    ledger(log, tree(tmp_path), job="score-2").write([batch(0)])
    assert len(predictions(log)) == 2


@pytest.fixture
def capped(tmp_path: Path) -> Iterator[SqliteLog]:
    made = SqliteLog(tmp_path / "events.sqlite", max_bytes=CAP)
    with contextlib.closing(made) as log:
        yield log


def live(size: int) -> records.Event:
    """An event of live traffic of about so many bytes."""
    command = records.Command(model="tiny", action="pause", actor="a" * size)
    return records.seal(command, source="test", now=0.0)


def floats(size: int) -> dict[str, batch_rows.Array]:
    """Inputs of two rows that take about so many bytes."""
    return {"x": np.ones((2, size // 8), np.float32)}


def test_a_capped_log_takes_what_leaves_a_tenth_of_it(tmp_path: Path, capped: SqliteLog) -> None:
    writer = ledger(capped, tree(tmp_path, cap_bytes=CAP))
    writer.write([batch(0, inputs=floats(5 * TENTH))])
    assert capped.room() > batch_events.RESERVE
    assert len(predictions(capped)) == 1


def test_what_would_reach_into_the_last_tenth_is_not_logged(
    tmp_path: Path, capped: SqliteLog
) -> None:
    writer = ledger(capped, tree(tmp_path, cap_bytes=CAP))
    writer.write([batch(0, inputs=floats(5 * TENTH))])
    before = capped.room()
    with pytest.raises(errors.LogFull, match=r"less than 10% of events.cap_bytes"):
        # Half is taken; 0.2 and 0.3 fit one by one, and not together.
        writer.write([batch(2, inputs=floats(2 * TENTH)), batch(4, inputs=floats(3 * TENTH))])
    assert (capped.room(), len(predictions(capped))) == (before, 1)


def test_live_traffic_still_has_the_last_tenth(tmp_path: Path, capped: SqliteLog) -> None:
    writer = ledger(capped, tree(tmp_path, cap_bytes=CAP))
    capped.append([live(8 * TENTH)])
    with pytest.raises(errors.LogFull):
        writer.write([batch(0, inputs=floats(TENTH))])
    capped.append([live(TENTH)])
    assert len(capped.read("").events) == 2


def test_a_log_without_a_cap_takes_any_number(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "events.sqlite")
    with contextlib.closing(log):
        ledger(log, tree(tmp_path)).write([batch(0, inputs=floats(2 * CAP))])
        assert len(predictions(log)) == 1
