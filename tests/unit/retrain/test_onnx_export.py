from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from coppice import errors, project, runtime
from retrain import network, onnx_export, served
from tests.support import networks, sequences


class Exported:
    """A residual network and its graph."""

    def __init__(self, folder: Path) -> None:
        self.split = networks.rows(40, 2)
        self.model = network.build(networks.Residual, seed=0)
        self.path = folder / "model.onnx"
        onnx_export.export(self.model, self.split, self.path, task="multiclass")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(tmp_path_factory.mktemp("export"))


def test_the_graph_has_the_fixed_opset(exported: Exported) -> None:
    graph = onnx.load(exported.path)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [
        ("", onnx_export.OPSET)
    ]


def test_a_graph_of_another_model_is_refused(exported: Exported) -> None:
    session = runtime.Session(exported.path)
    other = network.build(networks.Residual, seed=9)
    with pytest.raises(errors.ArtifactError, match="at 1 rows the graph differs from torch"):
        onnx_export.check_parity(other, session, exported.split, task="multiclass")


def test_a_split_shorter_than_a_batch_is_repeated_for_parity(exported: Exported) -> None:
    session = runtime.Session(exported.path)
    few = exported.split.take(np.arange(3))
    gap = onnx_export.check_parity(exported.model, session, few, task="multiclass")
    assert gap <= onnx_export.PARITY


@pytest.mark.parametrize(
    ("factory", "rows"),
    [
        (networks.Transformer, networks.sequences),
        (networks.TwoInputs, networks.pairs),
        (networks.depthwise, networks.rows),
    ],
)
def test_networks_of_other_kinds_are_exported(
    factory: Callable[[], nn.Module], rows: Callable[[], project.Split], tmp_path: Path
) -> None:
    model = network.build(factory, seed=0)
    onnx_export.export(model, rows(), tmp_path / "model.onnx", task="multiclass")
    session = runtime.Session(tmp_path / "model.onnx")
    assert session.inputs == tuple(rows().inputs)
    assert session.outputs == ("scores", "embedding")


def test_an_embedding_that_is_an_input_is_exported(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    onnx_export.export(model, networks.vectors(), tmp_path / "model.onnx", task="binary")
    split = networks.vectors()
    outputs = runtime.Session(tmp_path / "model.onnx").run(split.inputs)
    assert np.array_equal(outputs["embedding"], split.inputs["values"])


def wide() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, served.WIDEST_EMBEDDING + 1),
        nn.Linear(served.WIDEST_EMBEDDING + 1, 3),
    )


def test_an_embedding_that_is_too_wide_is_left_out(tmp_path: Path) -> None:
    onnx_export.export(wide(), networks.rows(), tmp_path / "model.onnx", task="multiclass")
    assert runtime.Session(tmp_path / "model.onnx").outputs == ("scores",)


def test_a_forward_that_looks_at_values_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(errors.ArtifactError, match="cannot be exported to ONNX") as caught:
        onnx_export.export(
            networks.Branches(), networks.vectors(), tmp_path / "model.onnx", task="binary"
        )
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_an_input_may_be_called_like_an_operation(name: str, tmp_path: Path) -> None:
    split = project.Split(inputs={name: networks.vectors().inputs["values"]}, targets=np.zeros(64))
    onnx_export.export(networks.mlp(), split, tmp_path / "model.onnx", task="binary")
    assert runtime.Session(tmp_path / "model.onnx").inputs == (name,)


@pytest.mark.parametrize("name", ["scores", "embedding"])
def test_an_input_called_like_an_output_is_refused(name: str, tmp_path: Path) -> None:
    split = project.Split(inputs={name: networks.vectors().inputs["values"]}, targets=np.zeros(64))
    with pytest.raises(errors.ArtifactError, match="which is the name of an output; rename it"):
        onnx_export.export(networks.mlp(), split, tmp_path / "model.onnx", task="binary")


class CountsRows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.head(values) + torch.zeros(len(values), 2)  # type: ignore[no-any-return]


def test_a_forward_that_fixes_the_number_of_rows_is_told_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(errors.ArtifactError, match=r"write x.shape\[0\] instead of len\(x\)"):
        onnx_export.export(CountsRows(), networks.vectors(), tmp_path / "model.onnx", task="binary")
    assert not (tmp_path / "model.onnx").exists()


class Noisy(nn.Module):
    """Answers at random, so that no graph can answer the same."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.head(values) + torch.randn_like(values[:, :2])  # type: ignore[no-any-return]


def test_a_graph_that_does_not_answer_like_the_model_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(errors.ArtifactError, match="differs from torch"):
        onnx_export.export(Noisy(), networks.vectors(), tmp_path / "model.onnx", task="binary")
    assert not (tmp_path / "model.onnx").exists()


def test_exporting_says_nothing_and_puts_the_loggers_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    level = logging.getLogger("torch.onnx").level
    onnx_export.export(networks.mlp(), networks.vectors(), tmp_path / "model.onnx", task="binary")
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level


def test_exporting_leaves_no_hook_on_the_model(tmp_path: Path) -> None:
    model = networks.mlp()
    onnx_export.export(model, networks.vectors(), tmp_path / "model.onnx", task="binary")
    assert not any(module._forward_pre_hooks for module in model.modules())


class Means(nn.Module):
    """Means of images by torch's pool, by reduction, and over a dimension that is no image's."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gate = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 1)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(14, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.inner(image))
        hidden = hidden * torch.sigmoid(self.gate(self.pool(hidden)))
        columns = hidden.mean(dim=(1, 2))
        return self.head(torch.cat([hidden.mean(dim=(-2, -1)), columns], dim=1))  # type: ignore[no-any-return]


def test_means_over_images_are_pools_that_the_runtime_keeps_in_its_layout(tmp_path: Path) -> None:
    model, path = network.build(Means, seed=0), tmp_path / "model.onnx"
    onnx_export.export(model, networks.rows(), path, task="multiclass")
    graph = onnx.load(path).graph
    kinds = [node.op_type for node in graph.node]
    # The gate's keeps its dimensions, the other one is flattened; the third one is no pool.
    assert (kinds.count("GlobalAveragePool"), kinds.count("ReduceMean")) == (2, 1)
    used = {name for node in graph.node for name in node.input}
    assert {each.name for each in graph.initializer} <= used


@pytest.mark.parametrize("axes", [[1, 2], [2]])
def test_a_mean_over_anything_else_stays_as_it_is(axes: list[int]) -> None:
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 4, 4, 4])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)],
        "mean",
        [given],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.array(axes), "axes")],
    )
    onnx_export.pool_globally(graph)
    assert [node.op_type for node in graph.node] == ["ReduceMean"]


def test_packed_sequences_are_refused_with_what_to_do(tmp_path: Path) -> None:
    net = sequences.NETWORKS["packed"]
    path = tmp_path / "model.onnx"
    with pytest.raises(errors.ArtifactError, match="'cells' reads packed sequences"):
        onnx_export.export(net.model(), net.data().validation, path, task=net.task)
    assert not path.exists()


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 2).bfloat16()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.inner(values.bfloat16())  # type: ignore[no-any-return]


def test_half_precision_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(errors.ArtifactError, match=r"'inner.weight' is bfloat16.*use .float\(\)"):
        onnx_export.export(Half(), networks.vectors(), path, task="binary")
