"""Cut a graph that was exported already, instead of exporting the cut model.

An export takes seconds, and a search looks at a hundred structures. The exporter keeps the names of
the tensors, and folds norms into the filters before them without changing a shape; so the record of
a cut can be carried out on the graph's own tensors. Whatever the exporter has turned round, joined
or computed from a width cannot be followed like that: then the graph does not answer like the cut
model, which is checked on real rows every time, and the caller exports instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from coppice import errors, labels, project, runtime
from retrain import onnx_export
from retrain.pruning import surgery
from retrain.search import subject

PREFIX = "model."
"""Of the model's tensors in a graph: what is exported holds the model under this name."""


def recut(
    graph: Path,
    structure: subject.Structure,
    split: project.Split,
    path: Path,
    *,
    task: labels.Task,
) -> bool:
    """Write the graph of a cut model, and say whether it answers like that model.

    Parameters
    ----------
    graph
        The exported graph of the structure's ground.
    structure
        The cut, and the model after it with the weights that it had.
    split
        Real rows to compare the answers on.
    """
    whole = onnx.load(graph)
    if not _cut(whole.graph, structure.record):
        return False
    path.write_bytes(whole.SerializeToString(deterministic=True))
    try:
        onnx_export.check_parity(structure.model, runtime.Session(path), split, task=task)
    except errors.ArtifactError:
        path.unlink()
        return False
    return True


def _cut(graph: onnx.GraphProto, record: surgery.Surgery) -> bool:
    """Carry the cuts out on a graph's tensors; `False` where it has none of that name and shape."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    folded = _folded(graph, tensors)
    for cut in record.cuts:
        selection = record.selections[cut.selection]
        names = [PREFIX + cut.tensor] * (PREFIX + cut.tensor in tensors)
        if cut.dim == 0:
            names += folded.get(PREFIX + cut.tensor, [])
        for name in names:
            tensor = tensors[name]
            if len(tensor.dims) <= cut.dim or tensor.dims[cut.dim] != selection.size:
                return False
            values = numpy_helper.to_array(tensor).take(selection.keep, axis=cut.dim)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))
    _loosen(graph, tensors)
    _regroup(graph, record)
    return True


def _loosen(graph: onnx.GraphProto, tensors: Mapping[str, onnx.TensorProto]) -> None:
    """Take out the widths that the exporter wrote down beside the tensors."""
    graph.ClearField("value_info")
    for output in graph.output:
        for dim in output.type.tensor_type.shape.dim[1:]:
            dim.Clear()
    for node in graph.node:
        shape = tensors.get(node.input[1]) if node.op_type == "Reshape" else None
        # Flattened to [rows, width]: without attributes 0 keeps the rows, and -1 is what follows.
        if shape is not None and list(shape.dims) == [2]:
            rows_first = numpy_helper.from_array(np.array([0, -1], dtype=np.int64), shape.name)
            shape.CopyFrom(rows_first)
            del node.attribute[:]


def _regroup(graph: onnx.GraphProto, record: surgery.Surgery) -> None:
    """Give grouped convolutions the number of groups that they have after the cut."""
    groups = {
        f"{PREFIX}{each.module}.weight": each.after
        for each in record.attributes
        if each.name == "groups" and isinstance(each.after, int)
    }
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Conv" and attribute.name == "group":
                attribute.i = groups.get(node.input[1], attribute.i)


def _folded(
    graph: onnx.GraphProto, tensors: Mapping[str, onnx.TensorProto]
) -> dict[str, list[str]]:
    """Return by filter the biases that a norm behind it was folded into: they have new names."""
    found: dict[str, list[str]] = {}
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == _WITH_BIAS:
            _, weight, bias = node.input
            if bias in tensors and not _known(bias, weight):
                found.setdefault(weight, []).append(bias)
    return found


_WITH_BIAS = 3


def _known(bias: str, weight: str) -> bool:
    """Say whether a bias is the layer's own, which the record names itself."""
    return bias == f"{weight.removesuffix('weight')}bias"
