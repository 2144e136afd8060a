"""Small real artifacts, built with onnx.helper: no torch, milliseconds each."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import safetensors.numpy
from onnx import helper, numpy_helper

from coppice import artifact, labels, runtime

INPUT = "x"
OPSET = 17
IR_VERSION = 8
REFERENCE_ROWS = 500
CREATED_AT = 1_700_000_000.0
BINARY = ("no", "yes")

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Tail:
    """Nodes put between the linear layer's output `linear` and `answer`, with their constants."""

    nodes: tuple[onnx.NodeProto, ...] = ()
    constants: tuple[tuple[str, npt.NDArray[np.generic]], ...] = ()


@dataclasses.dataclass(frozen=True)
class Linear:
    """What the builders below have in common."""

    name: str
    weight: Floats
    bias: Floats
    classes: tuple[str, ...]
    accepted: float
    parent: str | None
    scale: float = 1.0
    components: Floats | None = None
    tail: Tail = Tail()


def linear_classifier(
    folder: Path,
    *,
    name: str = "tiny",
    weight: npt.NDArray[np.floating] | None = None,
    bias: npt.NDArray[np.floating] | None = None,
    classes: tuple[str, ...] = ("no", "yes"),
    accepted: float = 0.95,
    parent: str | None = None,
    features_in: int = 4,
    components: npt.NDArray[np.floating] | None = None,
    tail: Tail = Tail(),
) -> str:
    """Pack softmax(x @ weight + bias) and return its tag.

    `weight` is [features_in, classes]. By default class k gets weight k - (classes - 1) / 2 on
    every input, so that with two classes "yes" wins exactly where the inputs' sum is positive.
    `components` [k, features_in] adds the output `embedding` (the input itself) and its basis.
    """
    if weight is None:
        steps = np.arange(len(classes)) - (len(classes) - 1) / 2
        weight = np.tile(steps, (features_in, 1))
    return _pack(
        folder,
        Linear(
            name=name,
            weight=np.asarray(weight, dtype=np.float32),
            bias=_bias(bias, len(classes)),
            classes=classes,
            accepted=accepted,
            parent=parent,
            components=None if components is None else np.asarray(components, dtype=np.float32),
            tail=tail,
        ),
    )


def linear_regressor(
    folder: Path,
    *,
    name: str = "tiny",
    weight: npt.NDArray[np.floating] | None = None,
    bias: npt.NDArray[np.floating] | None = None,
    accepted: float = 0.9,
    parent: str | None = None,
    features_in: int = 4,
    scale: float = 1.0,
    tail: Tail = Tail(),
) -> str:
    """Pack x @ weight + bias (by default the sum of the inputs) and return its tag."""
    if weight is None:
        weight = np.ones((features_in, 1))
    return _pack(
        folder,
        Linear(
            name=name,
            weight=np.asarray(weight, dtype=np.float32).reshape(-1, 1),
            bias=_bias(bias, 1),
            classes=(),
            accepted=accepted,
            parent=parent,
            scale=scale,
            tail=tail,
        ),
    )


def failing_classifier(folder: Path, *, name: str = "tiny", above: float = 0.0) -> str:
    """Pack a default classifier that fails at run time where a first input exceeds `above`.

    Zeros pass with the default, so it loads and warms up; then real rows break it.
    """
    return linear_classifier(folder, name=name, tail=failing(above))


def failing(above: float) -> Tail:
    """Nodes that fail at run time where a first input exceeds `above`."""
    nodes = (
        helper.make_node("Gather", [INPUT, "first"], ["firsts"], axis=1),
        helper.make_node("Greater", ["firsts", "limit"], ["over"]),
        helper.make_node("Cast", ["over"], ["index"], to=onnx.TensorProto.INT64),
        # Index 1 lies outside of a tensor of one element.
        helper.make_node("Gather", ["nothing", "index"], ["zeros"], axis=0),
        helper.make_node("Add", ["linear", "zeros"], ["answer"]),
    )
    constants = (
        ("first", np.array([0], dtype=np.int64)),
        ("limit", np.array([above], dtype=np.float32)),
        ("nothing", np.zeros(1, dtype=np.float32)),
    )
    return Tail(nodes, constants)


def nan_classifier(folder: Path, *, name: str = "tiny") -> str:
    """Pack a default classifier that answers NaN where a row holds a negative number."""
    nodes = (
        helper.make_node("Sqrt", [INPUT], ["roots"]),
        helper.make_node("ReduceSum", ["roots", "axis"], ["total"], keepdims=1),
        helper.make_node("Add", ["linear", "total"], ["answer"]),
    )
    constants = (("axis", np.array([1], dtype=np.int64)),)
    return linear_classifier(folder, name=name, tail=Tail(nodes, constants))


def slow_classifier(
    folder: Path, *, name: str = "tiny", steps: int = 20, features_in: int = 4
) -> str:
    """Pack a default classifier that first multiplies large matrices: a few ms for each step."""
    size = 512
    nodes = [
        helper.make_node("ReduceSum", [INPUT], ["sum"], keepdims=0),
        helper.make_node("Add", ["matrix", "sum"], ["product0"]),
    ]
    nodes += [
        helper.make_node("MatMul", [f"product{step}", "matrix"], [f"product{step + 1}"])
        for step in range(steps)
    ]
    nodes += [
        helper.make_node("ReduceMax", [f"product{steps}"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nought"], ["zero"]),
        helper.make_node("Add", ["linear", "zero"], ["answer"]),
    ]
    constants = (
        ("matrix", np.full((size, size), 1 / size, dtype=np.float32)),
        ("nought", np.zeros((), dtype=np.float32)),
    )
    return linear_classifier(
        folder, name=name, features_in=features_in, tail=Tail(tuple(nodes), constants)
    )


def rows(count: int, features_in: int = 4, seed: int = 0) -> Floats:
    """Draw standard normal rows [count, features_in], the same for the same seed."""
    draws = np.random.default_rng(seed).standard_normal((count, features_in))
    return draws.astype(np.float32)


def _bias(bias: npt.NDArray[np.floating] | None, width: int) -> Floats:
    return np.zeros(width, np.float32) if bias is None else np.asarray(bias, dtype=np.float32)


def _pack(folder: Path, linear: Linear) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    features_in = linear.weight.shape[0]
    onnx.save(_graph(linear), str(folder / artifact.MODEL))
    specs = (artifact.TensorSpec(INPUT, "float32", (features_in,)),)
    _write_tensors(folder, linear, specs)
    (folder / artifact.CARD).write_bytes(msgspec.json.encode({"name": linear.name}))
    (folder / artifact.SURGERY).write_bytes(b'{"steps": []}')
    components = 0 if linear.components is None else len(linear.components)
    return artifact.write_manifest(
        folder,
        artifact.Manifest(
            name=linear.name,
            task=_task(linear.classes),
            classes=linear.classes,
            inputs=specs,
            features=runtime.feature_names(specs, linear.classes, components),
            scale=linear.scale,
            parent=linear.parent,
            accepted=linear.accepted,
            accepted_rows=REFERENCE_ROWS,
            created_at=CREATED_AT,
        ),
    )


def binary(
    folder: Path,
    *,
    graph: onnx.ModelProto,
    specs: tuple[artifact.TensorSpec, ...],
    name: str,
    codes: Mapping[str, artifact.Codes] = types.MappingProxyType({}),
) -> str:
    """Pack a graph that answers "no" or "yes", without a reference, and return its tag."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, str(folder / artifact.MODEL))
    (folder / artifact.CARD).write_bytes(msgspec.json.encode({"name": name}))
    return artifact.write_manifest(
        folder,
        artifact.Manifest(
            name=name,
            task="binary",
            classes=BINARY,
            inputs=specs,
            codes=dict(codes),
            features=runtime.feature_names(specs, BINARY, 0),
            accepted=0.9,
            accepted_rows=REFERENCE_ROWS,
            created_at=CREATED_AT,
        ),
    )


def _task(classes: Sequence[str]) -> labels.Task:
    if not classes:
        return "regression"
    return "binary" if len(classes) == 2 else "multiclass"


def _graph(linear: Linear) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", [INPUT, "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["linear"]),
        *(linear.tail.nodes or [helper.make_node("Identity", ["linear"], ["answer"])]),
    ]
    width: list[int | str] = ["rows", len(linear.classes)]
    if linear.classes:
        nodes.append(helper.make_node("Softmax", ["answer"], [runtime.SCORES], axis=1))
    else:
        nodes.append(helper.make_node("Squeeze", ["answer", "last"], [runtime.SCORES]))
        width = ["rows"]
    shape = ["rows", linear.weight.shape[0]]
    outputs = [helper.make_tensor_value_info(runtime.SCORES, onnx.TensorProto.FLOAT, width)]
    if linear.components is not None:
        nodes.append(helper.make_node("Identity", [INPUT], [runtime.EMBEDDING]))
        outputs.append(
            helper.make_tensor_value_info(runtime.EMBEDDING, onnx.TensorProto.FLOAT, shape)
        )
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, shape)],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in _constants(linear).items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _constants(linear: Linear) -> dict[str, npt.NDArray[np.generic]]:
    constants: dict[str, npt.NDArray[np.generic]] = {
        "weight": linear.weight,
        "bias": linear.bias,
        **dict(linear.tail.constants),
    }
    if not linear.classes:
        constants["last"] = np.array([1], dtype=np.int64)
    return constants


def _write_tensors(folder: Path, linear: Linear, specs: tuple[artifact.TensorSpec, ...]) -> None:
    inputs = rows(REFERENCE_ROWS, linear.weight.shape[0], seed=1)
    answers = inputs @ linear.weight + linear.bias
    if linear.classes:
        powers = np.exp(answers - answers.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
        targets = scores.argmax(axis=1)
    else:
        scores = targets = answers[:, 0]
    basis = None
    monitoring = {"calibration.temperature": np.ones(1, dtype=np.float32)}
    if linear.components is not None:
        basis = runtime.Basis(np.zeros(len(linear.weight), np.float32), linear.components)
        monitoring |= {"pca.mean": basis.mean, "pca.components": basis.components}
    features = runtime.monitoring_features(
        specs, {INPUT: inputs}, scores, embedding=inputs, basis=basis
    )
    reference = {
        "features": features,
        "scores": scores.astype(np.float32),
        "targets": targets.astype(np.float64),
    }
    weights = {"weight": linear.weight, "bias": linear.bias}
    safetensors.numpy.save_file(monitoring, folder / artifact.MONITORING)
    safetensors.numpy.save_file(reference, folder / artifact.REFERENCE)
    safetensors.numpy.save_file(weights, folder / artifact.WEIGHTS)


def served_by(folder: Path, engine: artifact.Engine, precision: artifact.Precision = "fp32") -> str:
    """Seal an artifact again, for another engine, and return its new tag."""
    manifest = artifact.read_manifest(folder)
    changed = msgspec.structs.replace(manifest, engine=engine, precision=precision)
    return artifact.write_manifest(folder, changed)
