from __future__ import annotations

import zlib
from pathlib import Path

import pytest
import torch
from torch import nn

from coppice import runtime
from retrain import proving
from retrain.evaluate import evaluation
from tests.support import networks


def table(rows: int, score: float) -> evaluation.Table:
    return evaluation.Table(
        rows=rows, columns={"candidate": {"score": score}}, yardstick="candidate"
    )


def test_without_production_the_holdout_says_what_to_expect() -> None:
    judged = evaluation.Evaluation(holdout=table(300, 0.97))
    assert proving.expected(judged, "candidate") == (0.97, 300)


def test_a_perfect_score_on_few_production_rows_is_not_believed() -> None:
    judged = evaluation.Evaluation(holdout=table(300, 0.97), production=table(75, 1.0))
    score, rows = proving.expected(judged, "candidate")
    # 75 right and 2 more, of 75 rows and 4 more.
    assert score == pytest.approx(77 / 79)
    assert rows == 75


def test_a_handful_of_production_rows_says_nothing() -> None:
    judged = evaluation.Evaluation(holdout=table(300, 0.97), production=table(29, 0.5))
    assert proving.expected(judged, "candidate") == (0.97, 300)


def test_the_cost_tells_zeros_apart_and_compresses_the_graph(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    with torch.no_grad():
        model[0].weight[:, :4] = 0.0
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(10_000))
    found = proving.cost(
        networks.vectors(), {"candidate": model}, {"candidate": runtime.Packed(path)}
    )
    # 2 * 6 weights, of which 2 * 4 are zero, and 2 biases.
    assert found == {
        "candidate_macs": 12.0,
        "candidate_parameters": 14.0,
        "candidate_nonzero": 6.0,
        "candidate_compressed_bytes": float(len(zlib.compress(bytes(10_000)))),
    }
    assert found["candidate_compressed_bytes"] < 100


def test_the_weights_of_an_openvino_graph_lie_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_bytes(b"<net/>")
    path.with_suffix(".bin").write_bytes(bytes(10_000))
    graphs = {"candidate": runtime.Packed(path, "openvino")}
    found = proving.cost(networks.vectors(), {"candidate": nn.Linear(6, 2)}, graphs)
    size = len(zlib.compress(b"<net/>")) + len(zlib.compress(bytes(10_000)))
    assert found["candidate_compressed_bytes"] == size


def test_without_graphs_the_cost_is_that_of_the_models() -> None:
    found = proving.cost(networks.vectors(), {"parent": nn.Linear(6, 2)})
    assert set(found) == {"parent_macs", "parent_parameters", "parent_nonzero"}
