from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from coppice import artifact, errors, labels, project, runtime
from retrain import network, pack, train, weights
from retrain.pruning import recipe, schedule, surgery
from tests.support import networks


def data_of(rows: Callable[..., project.Split], classes: tuple[str, ...] = ()) -> project.Data:
    return project.Data(
        train=rows(80, 1), validation=rows(40, 2), holdout=rows(40, 3), classes=classes
    )


def parts_of(
    data: project.Data, task: labels.Task, record: surgery.Surgery | None = None
) -> pack.PackParts:
    return pack.PackParts(
        name="tiny",
        task=task,
        data=data,
        card={"measured": 1},
        accepted=0.9,
        accepted_rows=40,
        created_at=5.0,
        parent="tiny:0123456789ab",
        surgery=record,
    )


class Packed:
    """A pruned residual network and its artifact."""

    def __init__(self, folder: Path) -> None:
        self.data = data_of(networks.rows, ("a", "b", "c"))
        self.model = network.build(networks.Residual, seed=0)
        plan = recipe.Recipe(align=4)
        self.record = schedule.prune(self.model, self.data.train, plan, task="multiclass", seed=0)
        self.folder = folder / "version"
        self.parts = parts_of(self.data, "multiclass", self.record)
        self.tag = pack.pack(self.model, self.parts, self.folder)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return Packed(tmp_path_factory.mktemp("pack"))


def test_a_packed_folder_is_a_whole_artifact(packed: Packed) -> None:
    manifest = artifact.verify(packed.folder, packed.tag)
    assert set(manifest.files) == {
        "model.onnx",
        "weights.safetensors",
        "surgery.json",
        "monitoring.safetensors",
        "reference.safetensors",
        "card.json",
    }


def test_the_manifest_says_what_it_was_given(packed: Packed) -> None:
    manifest = artifact.read_manifest(packed.folder)
    assert (manifest.name, manifest.task, manifest.classes) == (
        "tiny",
        "multiclass",
        ("a", "b", "c"),
    )
    assert (manifest.parent, manifest.accepted, manifest.accepted_rows, manifest.created_at) == (
        "tiny:0123456789ab",
        0.9,
        40,
        5.0,
    )
    assert manifest.inputs == (artifact.TensorSpec("image", "float32", (1, 8, 8)),)


def test_the_server_s_runtime_answers_like_torch(packed: Packed) -> None:
    served = runtime.Runtime(packed.folder, expected_tag=packed.tag)
    inputs = packed.data.holdout.inputs
    expected = train.predict(packed.model, inputs, task="multiclass")
    assert np.allclose(served.predict(inputs).scores, expected, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5, 33])
def test_a_packed_graph_takes_any_number_of_rows(packed: Packed, rows: int) -> None:
    session = runtime.Session(packed.folder / artifact.MODEL)
    outputs = session.run({"image": np.zeros((rows, 1, 8, 8), dtype=np.float32)})
    assert outputs["scores"].shape == (rows, 3)
    # Half of the 32 channels that the head reads are gone.
    assert outputs["embedding"].shape == (rows, 16)


def test_the_embedding_is_what_the_last_linear_layer_reads(packed: Packed) -> None:
    session = runtime.Session(packed.folder / artifact.MODEL)
    outputs = session.run(packed.data.holdout.inputs)
    with torch.no_grad():
        logits = packed.model.head(torch.from_numpy(outputs["embedding"]))
    assert np.allclose(logits.softmax(dim=1).numpy(), outputs["scores"], atol=1e-5)


def test_the_trainable_model_is_rebuilt_bit_for_bit(packed: Packed) -> None:
    rebuilt = weights.rebuild(networks.Residual, packed.folder)
    inputs = packed.data.holdout.inputs
    first, second = (
        train.logits(model, inputs, task="multiclass") for model in (rebuilt, packed.model)
    )
    assert np.array_equal(first, second)


def test_the_surgery_in_the_folder_is_the_one_that_was_made(packed: Packed) -> None:
    text = (packed.folder / artifact.SURGERY).read_bytes()
    assert surgery.Surgery.from_json(text) == packed.record


def test_the_reference_holds_what_the_server_would_have_recorded(packed: Packed) -> None:
    tensors = artifact.load_tensors(packed.folder, artifact.REFERENCE)
    served = runtime.Runtime(packed.folder)
    answers = served.predict(packed.data.validation.inputs)
    assert tensors["features"].shape == (80, len(served.manifest.features))
    assert np.allclose(tensors["features"][:40], answers.features, atol=1e-5)
    assert np.allclose(tensors["scores"][:40], answers.scores, atol=1e-6)


def test_the_reference_holds_the_targets_of_validation_then_holdout(packed: Packed) -> None:
    targets = artifact.load_tensors(packed.folder, artifact.REFERENCE)["targets"]
    expected = [*packed.data.validation.targets, *packed.data.holdout.targets]
    assert targets.dtype == np.float64
    assert targets.tolist() == expected


def test_the_calibrator_lies_beside_the_basis(packed: Packed) -> None:
    tensors = artifact.load_tensors(packed.folder, artifact.MONITORING)
    assert tensors["pca.components"].shape == (8, 16)
    assert tensors["pca.mean"].shape == (16,)
    assert tensors["calibration.temperature"].shape == (1,)


def test_the_card_is_what_the_caller_gave(packed: Packed) -> None:
    assert json.loads((packed.folder / artifact.CARD).read_bytes()) == {"measured": 1}


def test_no_file_is_a_pickle_or_an_archive(packed: Packed) -> None:
    starts = {path.name: path.read_bytes()[:2] for path in packed.folder.iterdir()}
    assert not {b"\x80\x02", b"\x80\x04", b"PK"} & set(starts.values())


def test_the_graph_names_no_local_path(packed: Packed) -> None:
    graph = (packed.folder / artifact.MODEL).read_bytes()
    assert str(Path(__file__).parent).encode() not in graph
    assert b"stack_trace" not in graph


def test_packing_the_same_again_gives_the_same_tag(packed: Packed, tmp_path: Path) -> None:
    assert pack.pack(packed.model, packed.parts, tmp_path) == packed.tag


def test_a_graph_that_is_there_already_is_used(packed: Packed, tmp_path: Path) -> None:
    graph = (packed.folder / artifact.MODEL).read_bytes()
    (tmp_path / artifact.MODEL).write_bytes(graph)
    assert pack.pack(packed.model, packed.parts, tmp_path) == packed.tag


def test_a_graph_of_another_model_is_not_packed(packed: Packed, tmp_path: Path) -> None:
    (tmp_path / artifact.MODEL).write_bytes((packed.folder / artifact.MODEL).read_bytes())
    other = network.build(networks.Residual, seed=9)
    with pytest.raises(errors.ArtifactError, match="the graph differs from torch"):
        pack.pack(other, packed.parts, tmp_path)


def test_a_regression_answers_one_value_per_row_and_has_no_calibrator(tmp_path: Path) -> None:
    data = data_of(networks.amounts)
    model = network.build(lambda: networks.mlp(outputs=1), seed=0)
    pack.pack(model, parts_of(data, "regression"), tmp_path)
    served = runtime.Runtime(tmp_path)
    assert served.predict(data.holdout.inputs).scores.shape == (40,)
    assert served.temperature == 1.0
    assert served.manifest.classes == ()


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_model_without_a_linear_layer_has_no_embedding(tmp_path: Path) -> None:
    data = data_of(networks.rows, ("a", "b", "c"))
    pack.pack(network.build(pooled, seed=0), parts_of(data, "multiclass"), tmp_path)
    assert runtime.Session(tmp_path / artifact.MODEL).outputs == ("scores",)
    tensors = artifact.load_tensors(tmp_path, artifact.MONITORING)
    assert set(tensors) == {"calibration.temperature"}
    assert not [n for n in artifact.read_manifest(tmp_path).features if n.startswith("embed")]


def test_a_dense_parent_has_no_surgery(tmp_path: Path) -> None:
    data = data_of(networks.vectors, ("no", "yes"))
    pack.pack(network.build(networks.mlp, seed=0), parts_of(data, "binary"), tmp_path)
    assert not (tmp_path / artifact.SURGERY).exists()


def test_the_weights_on_disk_are_plain_tensors(packed: Packed) -> None:
    tensors = safetensors.numpy.load_file(packed.folder / artifact.WEIGHTS)
    assert set(tensors) == set(packed.model.state_dict())
