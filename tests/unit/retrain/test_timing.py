from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coppice import artifact, errors
from retrain import timing
from tests.support import artifacts

ROWS = {"x": artifacts.rows(3)}


def contestant(folder: Path, name: str = "one", **fields: str) -> timing.Contestant:
    path = str(folder / artifact.MODEL)
    return timing.Contestant(**({"name": name, "path": path} | fields))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    artifacts.linear_classifier(tmp_path)
    return tmp_path


def test_a_graph_of_thirty_products_takes_longer_than_one_of_one(tmp_path: Path) -> None:
    artifacts.slow_classifier(tmp_path / "slow", steps=30)
    artifacts.slow_classifier(tmp_path / "quick", steps=1)
    racing = [contestant(tmp_path / "slow", "slow"), contestant(tmp_path / "quick", "quick")]
    found = timing.race(racing, ROWS, rounds=3)
    assert [len(turns) for turns in found.values()] == [3, 3]
    # Thirty products against one; processor time, because other processes run here too.
    assert timing.gain(found, "slow", "quick", clock="cpu").low > 3.0


def test_rounds_begin_with_another_worker_each(folder: Path) -> None:
    asked: list[str] = []

    class Noted(timing.Worker):
        def turn(self, rows: int) -> timing.Turn:
            asked.append(f"{self.contestant.name}{rows}")
            return timing.Turn(1.0, 1.0)

    rows = folder / "rows.npz"
    np.savez(rows, x=ROWS["x"])
    running = [Noted(contestant(folder, name), rows) for name in ("a", "b")]
    timing.take_turns(running, rows=8, rounds=3)
    [worker.__exit__() for worker in running]
    # One turn each to warm up, then three rounds.
    assert asked == ["a8", "b8", "a8", "b8", "b8", "a8", "a8", "b8"]


def test_batches_of_several_sizes_are_asked_of_the_same_workers(folder: Path) -> None:
    rows = {"x": artifacts.rows(32)}
    with timing.workers([contestant(folder)], rows) as (worker,):
        found = [timing.take_turns([worker], rows=size, rounds=2)["one"] for size in (1, 32)]
    assert [len(turns) for turns in found] == [2, 2]
    assert all(turn.seconds > 0 and turn.cpu_seconds > 0 for turns in found for turn in turns)


def test_a_batch_larger_than_the_rows_repeats_them(folder: Path) -> None:
    assert len(timing.race([contestant(folder)], ROWS, rows=8, rounds=1)["one"]) == 1


def test_the_gain_is_that_of_the_clock_that_is_asked_for() -> None:
    found = {
        "before": [timing.Turn(seconds=0.8, cpu_seconds=0.2)] * 9,
        "after": [timing.Turn(seconds=0.1, cpu_seconds=0.1)] * 9,
    }
    assert timing.gain(found, "before", "after").gain == 8.0
    assert timing.gain(found, "before", "after", clock="cpu").gain == 2.0


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"path": "/nowhere/model.onnx"}, "/nowhere/model.onnx cannot be loaded"),
        ({"engine": "torch"}, "is no torch program"),
    ],
)
def test_what_cannot_be_loaded_says_why(folder: Path, fields: dict[str, str], text: str) -> None:
    with pytest.raises(errors.ArtifactError, match=text):
        timing.race([contestant(folder, **fields)], ROWS)


def test_a_graph_that_fails_on_the_rows_says_why(folder: Path) -> None:
    with pytest.raises(errors.ArtifactError, match=r"model\.onnx failed: "):
        timing.race([contestant(folder)], {"y": ROWS["x"]})


def test_a_worker_that_dies_is_told_with_its_last_word(folder: Path) -> None:
    rows = folder / "rows.npz"
    rows.write_bytes(b"no rows")
    with pytest.raises(errors.ArtifactError, match=r"could not be timed: .*Error"):
        timing.Worker(contestant(folder), rows).__enter__()


def test_a_worker_that_says_nothing_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "PATIENCE", 0.01)
    with (
        pytest.raises(errors.ArtifactError, match="no answer in 0 s"),
        timing.workers([contestant(folder)], ROWS),
    ):
        pass


def test_workers_end_with_the_block(folder: Path) -> None:
    with timing.workers([contestant(folder)], ROWS) as (worker,):
        process = worker._process
        assert process.poll() is None
    assert process.poll() is not None
