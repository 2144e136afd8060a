"""What serves a pruned recurrent network or recommender answers like the torch model."""

from __future__ import annotations

from pathlib import Path

import pytest

from coppice import runtime
from retrain import onnx_export
from tests.support import architectures, cuts


@pytest.mark.parametrize("name", ["lstm", "lstm-2-layers", "bi-lstm", "gru", "recommender"])
def test_a_cut_network_is_exported_and_answers_like_torch(name: str, tmp_path: Path) -> None:
    architecture = architectures.ARCHITECTURES[name]
    record = cuts.at_random(architecture)
    assert record.cuts
    model, split = cuts.cut(architecture, record), architecture.data().holdout
    path = tmp_path / "model.onnx"
    onnx_export.export(model, split, path, task=architecture.task)
    session = runtime.Session(path)
    gap = onnx_export.check_parity(model, session, split, task=architecture.task)
    assert gap < 1e-5
