from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coppice import runtime
from retrain.evaluate import footprint
from tests.support import artifacts

ROWS = {"x": np.ones((8, 4), np.float32)}


def graph(folder: Path, width: int = 4) -> runtime.Packed:
    artifacts.linear_classifier(
        folder, features_in=width, weight=np.ones((width, 64), np.float32), classes=CLASSES
    )
    return runtime.packed(folder)


CLASSES = tuple(f"c{at}" for at in range(64))


def test_a_larger_graph_takes_more_memory(tmp_path: Path) -> None:
    small = footprint.measure(graph(tmp_path / "small"), ROWS)
    # 64 x 100,000 weights of 4 bytes are 25.6 MB, and the batch has as many columns.
    wide = {"x": np.ones((8, 100_000), np.float32)}
    large = footprint.measure(graph(tmp_path / "large", 100_000), wide)
    assert small is not None
    assert large is not None
    assert large > small + 25_600_000


def test_a_graph_that_cannot_be_loaded_has_no_footprint(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    assert footprint.measure(runtime.Packed(tmp_path / "model.onnx"), ROWS) is None


def test_a_measurement_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footprint, "PATIENCE", 0.001)
    assert footprint.measure(graph(tmp_path), ROWS) is None


def test_the_growth_is_printed_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "rows.npz", x=ROWS["x"])
    footprint.main([*map(str, graph(tmp_path / "made")), str(tmp_path / "rows.npz")])
    assert json.loads(capsys.readouterr().out)["grown_bytes"] >= 0


def test_without_the_kernels_marks_the_growth_of_the_peak_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footprint, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(footprint, "_RESET", tmp_path / "none")
    assert footprint.grown(graph(tmp_path), ROWS) >= 0
