"""From a graph of full precision to one in int8, with the scales that real rows give it.

Called by packing and export. Weights become int8 with a scale per channel, and what flows between
layers uint8 with a scale per tensor, both written as pairs of QuantizeLinear and DequantizeLinear
around ordinary operations, so that any engine reads the graph. Whether the result is any good is
not judged here.

References
----------
Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, 2018.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization import shape_inference

from coppice import errors, project, runtime
from retrain import onnx_export, quiet

BATCH = 32
"""Calibration rows in memory at once: every tensor between layers is kept for each of them."""

HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What costs the time, and gains from int8."""
LIGHT = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "GlobalAveragePool",
    "LeakyRelu",
    "MaxPool",
    "Relu",
    "Reshape",
    "Transpose",
)
"""What can pass int8 on, so that values need not be turned back between two heavy ones."""


def quantize(graph: Path, target: Path, calibration: project.Split) -> None:
    """Write the int8 form of a graph.

    The last layer stays as it is: it is small, and answers in 256 steps would tie, be uncalibrated,
    and not sum to one. So what it reads, the embedding, keeps its meaning too.

    Parameters
    ----------
    graph
        From `onnx_export`.
    calibration
        Training rows that give each tensor its scale.

    Raises
    ------
    ArtifactError
        Nothing in this graph can be quantized, or it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="coppice-") as name, quiet.quiet(""):
        prepared, written = Path(name) / "prepared.onnx", Path(name) / "int8.onnx"
        try:
            # Folds batch norms. The pass left out follows sizes by name: it changed no int8 graph
            # of the networks tried, trips over bags of look-ups, and leaves files where it runs.
            shape_inference.quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
            left = last_layer(onnx.load(str(prepared)).graph)
            quantization.quantize_static(
                str(prepared),
                str(written),
                _Rows(calibration),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=[*HEAVY, *LIGHT],
                nodes_to_exclude=left,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            found = onnx.load(str(written))
        # The library raises whatever its many passes do; the graph was sound before it.
        except Exception as cause:
            message = f"{graph} cannot be quantized: {type(cause).__name__}: {cause}"
            raise errors.ArtifactError(message) from cause
    if not any(node.op_type == "QuantizeLinear" for node in found.graph.node):
        message = f"{graph} has nothing to quantize: {_kinds(found.graph)}"
        raise errors.ArtifactError(message)
    onnx_export.write(found, target)


def last_layer(graph: Any) -> list[str]:
    """Return the names of the nodes between the last heavy one, itself too, and the scores."""
    makers = {output: node for node in graph.node for output in node.output}
    waiting, found = [runtime.SCORES], []
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in found:
            continue
        found.append(node.name)
        if node.op_type not in HEAVY:
            waiting.extend(node.input)
    return found


def _kinds(graph: Any) -> str:
    kinds = sorted({node.op_type for node in graph.node})
    return f"its operations are {', '.join(kinds)}, of which the last layer is left as it is"


class _Rows(quantization.CalibrationDataReader):  # type: ignore[misc]  # the library is untyped
    """Hands out batches of rows, as the library asks for them."""

    def __init__(self, split: project.Split) -> None:
        self._batches = (
            {name: array[at : at + BATCH] for name, array in split.inputs.items()}
            for at in range(0, split.rows, BATCH)
        )

    def get_next(self) -> Any:
        """Return the next batch, and `None` after the last."""
        return next(self._batches, None)
