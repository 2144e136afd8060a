from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from coppice import artifact, project
from retrain import program, timing, timing_worker
from tests.support import artifacts, needs, networks


def test_a_stopwatch_asks_for_so_many_of_the_rows() -> None:
    seen: list[int] = []

    def run(inputs: project.Array) -> None:
        seen.append(len(inputs["x"]))

    stopwatch = timing_worker.Stopwatch(run, {"x": np.zeros((32, 4))})
    turn = stopwatch.turn(5)
    assert set(seen) == {5}
    assert turn.seconds > 0


def test_only_the_first_turn_of_a_size_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    warmed: list[int] = []

    def repeats(run: object, inputs: dict[str, project.Array], timer: object) -> int:
        warmed.append(len(inputs["x"]))
        return 2

    monkeypatch.setattr(timing_worker.latency, "repeats", repeats)
    stopwatch = timing_worker.Stopwatch(lambda _: None, {"x": np.zeros((8, 1))})
    [stopwatch.turn(rows) for rows in (1, 8, 1, 8)]
    assert warmed == [1, 8]


def test_each_line_is_answered_by_a_line() -> None:
    stopwatch = timing_worker.Stopwatch(lambda _: None, {"x": np.zeros((8, 1))})
    out = io.StringIO()
    timing_worker.answer(stopwatch, ['{"rows": 1}\n', '{"rows": 8}\n'], out)
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [sorted(turn) for turn in found] == [["cpu_seconds", "seconds"]] * 2


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_is_loaded_by_the_engine_of_its_contestant(engine: str, tmp_path: Path) -> None:
    needs.openvino()
    artifacts.linear_classifier(tmp_path)
    path = str(tmp_path / artifact.MODEL)
    run = timing_worker.load(timing.Contestant(name="a", path=path, engine=engine))  # type: ignore[arg-type]
    found = run({"x": np.zeros((2, 4), np.float32)})
    assert isinstance(found, dict)
    assert found["scores"].tolist() == [[0.5, 0.5]] * 2


def test_a_program_is_loaded_by_torch(tmp_path: Path) -> None:
    split = networks.vectors()
    program.save(networks.mlp(), split, tmp_path / "mlp.pt2", task="binary")
    path = str(tmp_path / "mlp.pt2")
    run = timing_worker.load(timing.Contestant(name="a", path=path, engine="torch"))
    found = run(split.inputs)
    assert isinstance(found, dict)
    assert found["scores"].shape == (64, 2)
