"""An artifact that looks codes up in a table, and knows which, built with onnx.helper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from coppice import artifact, runtime
from tests.support import artifacts

KNOWN = 5
"""Places of the table; the runtime fails beyond them, and counts negative ones from the end."""


def lookup_classifier(folder: Path, *, name: str = "tiny", told: bool = True) -> str:
    """Pack a classifier of two codes; each adds its place in the table to the logit of "yes".

    Parameters
    ----------
    told
        Whether the manifest says which codes are known, as older ones do not.
    """
    return artifacts.binary(
        folder,
        graph=_graph(),
        specs=(artifact.TensorSpec("item", "int64", (2,)),),
        name=name,
        codes={"item": artifact.Codes((0,), (KNOWN - 1,))} if told else {},
    )


def _graph() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["table", "item"], ["found"], axis=0),
        helper.make_node("ReduceSum", ["found", "steps"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], [runtime.SCORES], axis=1),
    ]
    table = np.stack([np.zeros(KNOWN), np.arange(KNOWN)], axis=1).astype(np.float32)
    weights = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "steps"),
    ]
    item = helper.make_tensor_value_info("item", TensorProto.INT64, ["rows", 2])
    scores = helper.make_tensor_value_info(runtime.SCORES, TensorProto.FLOAT, ["rows", 2])
    graph = helper.make_graph(nodes, "lookup", [item], [scores], weights)
    opsets = [helper.make_opsetid("", artifacts.OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=artifacts.IR_VERSION)
