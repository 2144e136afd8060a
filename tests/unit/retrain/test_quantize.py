from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from coppice import errors, project, runtime
from retrain import network, onnx_export, quantize, train
from tests.support import architectures, packable, recommenders

QUANTIZED = ("residual-cnn", "depthwise-cnn", "mlp", "gru", "transformer", "recommender")


def exported(name: str, folder: Path) -> tuple[Path, project.Data]:
    """Export one network of the matrix, trained a little so that its answers differ."""
    found = architectures.ARCHITECTURES[name]
    model, data = found.model(), found.data()
    train.fit(model, data.train, train.FitPlan(task=found.task, epochs=2, learning_rate=5e-3))
    onnx_export.export(model, data.validation, folder / "fp32.onnx", task=found.task)
    return folder / "fp32.onnx", data


def test_look_ups_that_the_library_cannot_follow_are_quantized_too_and_leave_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, plain, int8 = recommenders.NETWORKS["bag"], tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    monkeypatch.chdir(tmp_path)
    data = net.data()
    onnx_export.export(net.model(), data.validation, plain, task=net.task)
    quantize.quantize(plain, int8, data.train)
    kinds = {node.op_type for node in onnx.load(int8).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    scores = runtime.Session(int8).run(data.validation.inputs)["scores"]
    expected = runtime.Session(plain).run(data.validation.inputs)["scores"]
    assert float(np.abs(scores - expected).max()) < 0.05
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32.onnx", "int8.onnx"]


class Both:
    """The trained digits' network in full precision and in int8."""

    def __init__(self, folder: Path) -> None:
        self.data = packable.data()
        self.plain, self.int8 = folder / "fp32.onnx", folder / "int8.onnx"
        model = packable.trained("digits")
        onnx_export.export(model, self.data.validation, self.plain, task="multiclass")
        quantize.quantize(self.plain, self.int8, self.data.train)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("quantized"))


@pytest.mark.parametrize("name", QUANTIZED)
def test_networks_of_every_kind_answer_nearly_the_same(name: str, tmp_path: Path) -> None:
    graph, data = exported(name, tmp_path)
    quantize.quantize(graph, tmp_path / "int8.onnx", data.train)
    rows = data.validation.inputs
    plain = runtime.Session(graph).run(rows)
    int8 = runtime.Session(tmp_path / "int8.onnx").run(rows)
    unit = max(1.0, float(np.abs(plain["scores"]).max()))
    # A few dozen steps of 1/255 of the range on the way; measured below 0.01 for all of these.
    assert np.abs(plain["scores"] - int8["scores"]).max() / unit < 0.05


def test_a_network_without_heavy_layers_but_the_last_is_refused(tmp_path: Path) -> None:
    graph, data = exported("lstm", tmp_path)
    with pytest.raises(errors.ArtifactError, match="has nothing to quantize: its operations are"):
        quantize.quantize(graph, tmp_path / "int8.onnx", data.train)
    assert not (tmp_path / "int8.onnx").exists()


def test_weights_of_convolutions_are_int8_with_a_scale_for_each_channel(both: Both) -> None:
    kinds = {part.name: part for part in onnx.load(both.int8).graph.initializer}
    weights = [part for part in kinds.values() if part.data_type == onnx.TensorProto.INT8]
    scales = [
        list(kinds[name.replace("_quantized", "_scale")].dims)
        for name in (part.name for part in weights)
        if name.endswith("_quantized")
    ]
    # The digits' network has convolutions of 16 and 32 channels.
    assert [16] in scales
    assert [32] in scales


def test_the_graph_is_smaller(both: Both) -> None:
    # Two convolutions of 144 + 4,608 weights shrink by three bytes each, 14,256 in all; the scales
    # and pairs of nodes cost some of it again.
    assert both.int8.stat().st_size < both.plain.stat().st_size - 7_000


def test_the_last_layer_is_left_as_it_is(both: Both) -> None:
    graph = onnx.load(both.int8).graph
    (gemm,) = [node for node in graph.node if node.op_type == "Gemm"]
    floats = {part.name for part in graph.initializer if part.data_type == onnx.TensorProto.FLOAT}
    assert set(gemm.input[1:]) <= floats
    assert gemm.name in quantize.last_layer(graph)


def test_probabilities_keep_their_sum_and_more_than_256_values(both: Both) -> None:
    scores = runtime.Session(both.int8).run(both.data.train.inputs)["scores"]
    assert np.abs(scores.sum(axis=1) - 1.0).max() < 1e-5
    assert len(np.unique(scores)) > 256


def test_the_embedding_keeps_its_name_and_meaning(both: Both) -> None:
    plain, int8 = (
        runtime.Session(path).run(both.data.holdout.inputs) for path in (both.plain, both.int8)
    )
    assert list(int8) == ["scores", "embedding"]
    # The largest step of a tensor is 1/255 of its range, and errors of a few layers add up.
    spread = float(np.ptp(plain["embedding"]))
    assert np.abs(plain["embedding"] - int8["embedding"]).max() < 0.1 * spread


@pytest.mark.parametrize("rows", [1, 2, 33])
def test_it_takes_any_number_of_rows(both: Both, rows: int) -> None:
    batch = {"pixels": np.zeros((rows, 1, 8, 8), dtype=np.float32)}
    assert runtime.Session(both.int8).run(batch)["scores"].shape == (rows, 10)


def test_the_same_rows_give_the_same_bytes(both: Both, tmp_path: Path) -> None:
    quantize.quantize(both.plain, tmp_path / "again.onnx", both.data.train)
    assert (tmp_path / "again.onnx").read_bytes() == both.int8.read_bytes()


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fp32.onnx").write_bytes(b"no graph")
    with pytest.raises(errors.ArtifactError, match="cannot be quantized: "):
        quantize.quantize(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", packable.data().train)


def test_quantizing_says_nothing_and_puts_the_root_logger_back(
    both: Both, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    quantize.quantize(both.plain, tmp_path / "again.onnx", both.data.validation)
    assert capfd.readouterr() == ("", "")
    assert (root.level, root.handlers) == before


def test_the_last_layer_of_a_net_that_ends_in_more_than_a_product(tmp_path: Path) -> None:
    model = network.build(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh()), seed=0
    )
    rows = architectures.vectors(8, seed=1)
    inputs = {"values": rows.inputs[next(iter(rows.inputs))][:, :6]}
    split = project.Split(inputs=inputs, targets=rows.targets % 2)
    onnx_export.export(model, split, tmp_path / "model.onnx", task="binary")
    graph = onnx.load(tmp_path / "model.onnx").graph
    kinds = {node.name: node.op_type for node in graph.node}
    found = [kinds[name] for name in quantize.last_layer(graph)]
    assert found == ["Softmax", "Tanh", "Gemm"]
