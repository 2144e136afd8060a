"""Artifacts that take any datatype of the protocol, one or many inputs, built with onnx.helper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from coppice import artifact, runtime
from tests.support import artifacts

KINDS = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
"""Every datatype of the protocol, with the dtype that a manifest names."""

WORDS = {"yes": 1.0, "no": -1.0, "été": 2.0}
"""What texts are worth; any other is worth nothing."""


def summing_classifier(folder: Path, *, kinds: Sequence[str], name: str = "tiny") -> str:
    """Pack a classifier that adds up all inputs, one of two columns for each kind.

    "yes" wins exactly where the sum is positive: its logit is half of it, that of "no" minus half.
    """
    specs = tuple(artifact.TensorSpec(kind.lower(), KINDS[kind], (2,)) for kind in kinds)
    return artifacts.binary(folder, graph=_graph(kinds), specs=specs, name=name)


def _graph(kinds: Sequence[str]) -> onnx.ModelProto:
    names = [kind.lower() for kind in kinds]
    nodes = [_as_float(name) for name in names]
    nodes += [
        helper.make_node("Concat", [f"{name}.float" for name in names], ["all"], axis=1),
        helper.make_node("ReduceSum", ["all", "columns"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "halves"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [runtime.SCORES], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info(name, _element(kind), ["rows", 2])
        for name, kind in zip(names, kinds, strict=True)
    ]
    scores = helper.make_tensor_value_info(runtime.SCORES, TensorProto.FLOAT, ["rows", 2])
    constants: dict[str, npt.NDArray[np.generic]] = {
        "columns": np.array([1], dtype=np.int64),
        "halves": np.array([[-0.5, 0.5]], dtype=np.float32),
    }
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "summing", inputs, [scores], weights)
    opsets = [helper.make_opsetid("", artifacts.OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=artifacts.IR_VERSION)


def _element(kind: str) -> int:
    if kind == "BYTES":
        return int(TensorProto.STRING)
    if kind == "BF16":
        return int(TensorProto.BFLOAT16)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(KINDS[kind])))


def _as_float(name: str) -> onnx.NodeProto:
    if name != "bytes":
        return helper.make_node("Cast", [name], [f"{name}.float"], to=TensorProto.FLOAT)
    return helper.make_node(
        "LabelEncoder",
        [name],
        [f"{name}.float"],
        domain="ai.onnx.ml",
        keys_strings=list(WORDS),
        values_floats=list(WORDS.values()),
        default_float=0.0,
    )
