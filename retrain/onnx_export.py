"""From a torch model to the ONNX graph that serves.

Called by the candidate's flow, by packing and by export. A graph is accepted only when the serving
runtime answers with it like torch does, on real rows and in several batch sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn
from torch.nn.utils import rnn

from coppice import errors, labels, project, runtime
from retrain import network, quiet, served, train

OPSET = 20
PARITY_ROWS = (1, 7, 32)
"""Batch sizes at which torch and the packed graph are compared."""
PARITY = 1e-4
"""Largest difference of a probability, or of a value in units of the largest."""

_TALKERS = ("torch.onnx", "torch.onnx._internal.exporter._registration", "onnxscript")
"""Loggers that tell of each export."""


def export(model: nn.Module, split: project.Split, path: Path, *, task: labels.Task) -> None:
    """Write the graph with outputs `scores` and, where there is a last linear layer, `embedding`.

    Parameters
    ----------
    split
        Real rows, to trace the model with and to compare the answers on.

    Raises
    ------
    ArtifactError
        The model cannot be exported, or the graph does not answer like the model.
    """
    _check_names(tuple(split.inputs))
    _check_layers(model, split)
    whole = served.Served(model, split, task)
    try:
        with quiet.quiet(*_TALKERS):
            program = torch.onnx.export(
                whole,
                whole.trace_inputs(split),
                input_names=[_PUBLIC + name for name in whole.names],
                output_names=[_PUBLIC + name for name in whole.outputs],
                dynamic_shapes=whole.dynamic_shapes(),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        graph = program.model_proto
        pool_globally(graph.graph)
        _publish(graph.graph, {*whole.names, *whole.outputs})
        onnx.checker.check_model(graph)
        _check_batch(graph)
    except (torch.onnx.OnnxExporterError, onnx.checker.ValidationError) as cause:
        message = (
            f"the model cannot be exported to ONNX: {_reason(cause)}; its forward must be made "
            "of torch operations, for any number of rows"
        )
        raise errors.ArtifactError(message) from cause
    write(graph, path)
    try:
        check_parity(model, runtime.Session(path), split, task=task)
    except errors.ArtifactError:
        # `pack` would take what lies there for a graph that was accepted.
        path.unlink()
        raise


def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if name in {runtime.SCORES, runtime.EMBEDDING}:
            message = f"an input is called {name!r}, which is the name of an output; rename it"
            raise errors.ArtifactError(message)


def _check_layers(model: nn.Module, split: project.Split) -> None:
    """Refuse what no graph has, and whose failure deep inside would tell nobody what to do.

    Raises
    ------
    ArtifactError
        A layer computes in bfloat16, or reads packed sequences.
    """
    for name, parameter in model.named_parameters():
        if parameter.dtype == torch.bfloat16:
            message = f"{name!r} is bfloat16, which the runtime cannot compute in: use .float()"
            raise errors.ArtifactError(message)
    packed: list[str] = []
    hooks = [
        module.register_forward_pre_hook(_note_packed(name, packed))
        for name, module in model.named_modules()
        if isinstance(module, nn.RNNBase)
    ]
    tensors = network.to_tensors(served.rows(split, served.TRACE_ROWS).inputs)
    with network.hooked(hooks), torch.no_grad():
        network.call(model, tensors)
    if packed:
        message = (
            f"{packed[0]!r} reads packed sequences, which no graph has: give it the padded rows, "
            "and take each row's last step by its length (torch.gather)"
        )
        raise errors.ArtifactError(message)


def _note_packed(name: str, packed: list[str]) -> Callable[..., None]:
    def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
        del module
        if any(isinstance(each, rnn.PackedSequence) for each in given):
            packed.append(name)

    return hook


_PUBLIC = "public."
"""Marks a name that the outside sees, until nothing inside can clash with it any more."""


def _publish(graph: Any, names: set[str]) -> None:
    """Give inputs and outputs their names; what is called the same inside gets another.

    The exporter calls values after operations: any net with a look-up table has an `embedding`.
    """

    def renamed(name: str) -> str:
        return name.removeprefix(_PUBLIC) if name.startswith(_PUBLIC) else f"{name}.inner"

    for part in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        if part.name.startswith(_PUBLIC) or part.name in names:
            part.name = renamed(part.name)
    for node in graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                if name.startswith(_PUBLIC) or name in names:
                    values[index] = renamed(name)
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                _publish(body, names)


_IMAGE = 4
"""Dimensions of a batch of images."""


def pool_globally(graph: Any) -> None:
    """Write every mean over the height and width of images as GlobalAveragePool, in place.

    The exporter writes the pool itself as ReduceMean. That has no form in the layout in which the
    runtime keeps images between convolutions, and none in int8, so that values are turned back and
    forth around it: where each block has one, as in squeeze-and-excitation, it costs a tenth of all
    in full precision and more in int8.
    """
    shapes = {
        value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.input)
    }
    numbers = {each.name: each for each in graph.initializer}
    nodes = [
        each
        for node in graph.node
        for each in (_pooled(node) if _is_pool(node, shapes, numbers) else (node,))
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    used = set(_read(graph))
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _read(graph: Any) -> Iterator[str]:
    """Yield the names of all that is read in a graph and in the bodies of its nodes."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _read(body)


def _is_pool(node: Any, shapes: Mapping[str, Any], numbers: Mapping[str, Any]) -> bool:
    if node.op_type != "ReduceMean" or len(node.input) != 2 or node.input[1] not in numbers:
        return False
    axes = onnx.numpy_helper.to_array(numbers[node.input[1]]).tolist()
    rank = len(shapes.get(node.input[0], ()))
    return rank == _IMAGE and sorted(axis % rank for axis in axes) == [2, 3]


def _pooled(node: Any) -> Iterator[Any]:
    keeps = all(each.i for each in node.attribute if each.name == "keepdims")
    (output,) = node.output
    pooled = output if keeps else f"{output}.pooled"
    yield onnx.helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name)
    if not keeps:
        flat = f"{node.name}.flat"
        yield onnx.helper.make_node("Flatten", [pooled], [output], name=flat)


def _check_batch(graph: Any) -> None:
    for entry in graph.graph.input:
        rows = entry.type.tensor_type.shape.dim[0]
        if not rows.dim_param:
            message = (
                f"the exported graph takes batches of {rows.dim_value} rows only: the forward "
                "turns the number of rows into a constant; write x.shape[0] instead of len(x)"
            )
            raise errors.ArtifactError(message)


def _reason(cause: BaseException) -> str:
    """Return the innermost reason: the exporter's own message is a page about itself."""
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}"


def write(graph: Any, path: Path) -> None:
    """Write a graph (`onnx.ModelProto`), the same bytes for the same graph.

    Stack traces are taken out before: they tell local paths and change the digest.
    """
    bodies = [graph.graph, *graph.functions]
    for body in bodies:
        for part in (body, *body.node, *body.value_info):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    for part in (*graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        part.ClearField("metadata_props")
    path.write_bytes(graph.SerializeToString(deterministic=True))


def check_parity(
    model: nn.Module, session: runtime.Graph, split: project.Split, *, task: labels.Task
) -> float:
    """Compare torch with a packed graph on real rows, and return the largest difference.

    Raises
    ------
    ArtifactError
        The answers differ by more than `PARITY`, or name another class beyond a tie.
    """
    worst = 0.0
    for count in PARITY_ROWS:
        rows = served.rows(split, count)
        expected = train.predict(model, rows.inputs, task=task)
        found = np.asarray(session.run(rows.inputs)[runtime.SCORES], dtype=np.float32)
        if found.shape != expected.shape:
            message = f"at {count} rows the graph answers {found.shape}, torch {expected.shape}"
            raise errors.ArtifactError(message)
        apart = gap(found, expected, task=task)
        # Not `apart > PARITY`: a NaN must not pass. Nearer than this only ties change the class.
        if not apart <= PARITY:
            message = f"at {count} rows the graph differs from torch by {apart:.2g}, above {PARITY}"
            raise errors.ArtifactError(message)
        worst = max(worst, apart)
    return worst


def gap(
    found: npt.NDArray[np.floating], expected: npt.NDArray[np.floating], *, task: labels.Task
) -> float:
    """Return the largest difference of a probability, or of a value in units of the largest.

    >>> gap(np.array([210.0]), np.array([200.0]), task="regression")
    0.05
    """
    unit = 1.0 if task != "regression" else max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found - expected).max()) / unit
