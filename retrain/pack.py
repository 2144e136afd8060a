"""Pack a trained model into an artifact: the ONNX graph that serves, and all that judging needs.

Called by the candidate's flow. The only file that uses ONNX tooling. A graph is accepted only when
the serving runtime answers with it like torch does, on real rows and in several batch sizes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import safetensors.numpy
import torch
from torch import nn

from coppice import artifact, errors, features, labels, project, runtime
from retrain import network, reference, train, weights
from retrain.pruning import surgery

OPSET = 20
PARITY_ROWS = (1, 7, 32)
"""Batch sizes at which torch and the packed graph are compared."""
PARITY = 1e-4
"""Largest difference of a probability, or of a value in units of the largest."""
WIDEST_EMBEDDING = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackParts:
    """All that goes into an artifact beside the model.

    Attributes
    ----------
    name, task, scale
        As in the project's settings.
    data
        Train gives the principal components, validation the calibrator, and validation and holdout
        the reference rows.
    card
        Content of card.json.
    accepted, accepted_rows
        Mean score on the holdout, and its rows.
    created_at
        Seconds since 1970 UTC.
    parent
        Tag of the dense parent; `None` for a dense parent.
    surgery
        What was cut; `None` for a dense parent.
    """

    name: str
    task: labels.Task
    data: project.Data
    card: Mapping[str, Any]
    accepted: float
    accepted_rows: int
    created_at: float
    parent: str | None = None
    surgery: surgery.Surgery | None = None
    scale: float = 1.0


def pack(model: nn.Module, parts: PackParts, folder: Path) -> str:
    """Write an artifact into an empty or new folder, seal it, and return its tag.

    A graph that `export` has put there before is compared with the model again, and used.

    Raises
    ------
    ArtifactError
        The model cannot be exported, or the graph does not answer like the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / artifact.MODEL
    if not path.exists():
        export(model, parts.data.validation, path, task=parts.task)
    session = runtime.Session(path)
    check_parity(model, session, parts.data.validation, task=parts.task)
    weights.save(model, folder / artifact.WEIGHTS)
    if parts.surgery is not None:
        (folder / artifact.SURGERY).write_text(parts.surgery.to_json(), encoding="utf-8")
    monitoring = reference.monitoring(model, session, parts.data, task=parts.task)
    safetensors.numpy.save_file(monitoring, folder / artifact.MONITORING)
    clean = reference.clean_rows(session, monitoring, parts.data)
    safetensors.numpy.save_file(clean, folder / artifact.REFERENCE)
    card = msgspec.json.format(msgspec.json.encode(parts.card)) + b"\n"
    (folder / artifact.CARD).write_bytes(card)
    return artifact.write_manifest(folder, _manifest(parts, monitoring))


def _manifest(parts: PackParts, monitoring: Mapping[str, project.Array]) -> artifact.Manifest:
    specs = reference.input_specs(parts.data.train)
    components = len(monitoring.get("pca.components", ()))
    return artifact.Manifest(
        name=parts.name,
        task=parts.task,
        classes=parts.data.classes,
        inputs=specs,
        features=features.feature_names(specs, parts.data.classes, components),
        scale=parts.scale,
        parent=parts.parent,
        accepted=parts.accepted,
        accepted_rows=parts.accepted_rows,
        created_at=parts.created_at,
    )


class _Served(nn.Module):
    """The model with the public answer, and with what its last linear layer reads."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], task: labels.Task) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.task: labels.Task = task
        self.last: list[nn.Linear] = []

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        read: list[torch.Tensor] = []
        hooks = [
            layer.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
            for layer in self.last
        ]
        try:
            raw = network.call(self.model, dict(zip(self.names, tensors, strict=True)))
        finally:
            for hook in hooks:
                hook.remove()
        answers = network.shaped(raw, self.task).float()
        scores = answers if self.task == "regression" else answers.softmax(dim=1)
        return (scores, *(tensor.flatten(1).float() for tensor in read[-1:]))


def _last_linear(model: nn.Module, tensors: network.Tensors) -> list[nn.Linear]:
    """Return the linear layer that runs last, where its input makes an embedding; else nothing."""
    ran: list[tuple[nn.Linear, torch.Size]] = []

    def note(layer: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        ran.append((layer, arguments[0].shape))

    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(note) for layer in linears]
    try:
        with torch.no_grad():
            network.call(model, tensors)
    finally:
        for hook in hooks:
            hook.remove()
    rows = len(next(iter(tensors.values())))
    fits = ran and ran[-1][1][0] == rows and ran[-1][1][1:].numel() <= WIDEST_EMBEDDING
    return [ran[-1][0]] if fits and len(ran[-1][1]) > 1 else []


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
    model.eval()
    names = tuple(split.inputs)
    _check_names(names)
    served = _Served(model, names, task).eval()
    # Two rows or more: torch.export takes a batch of one for a constant.
    tensors = network.to_tensors(_rows(split, 3).inputs)
    served.last = _last_linear(model, tensors)
    batch = torch.export.Dim("batch")
    outputs = (runtime.SCORES, *(runtime.EMBEDDING for _ in served.last))
    try:
        with _quiet():
            program = torch.onnx.export(
                served,
                tuple(tensors.values()),
                input_names=[_PUBLIC + name for name in names],
                output_names=[_PUBLIC + name for name in outputs],
                dynamic_shapes=(tuple({0: batch} for _ in names),),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        graph = _stripped(program.model_proto)
        _publish(graph.graph, {*names, *outputs})
        onnx.checker.check_model(graph)
        _check_batch(graph)
    except (torch.onnx.OnnxExporterError, onnx.checker.ValidationError) as cause:
        message = (
            f"the model cannot be exported to ONNX: {_reason(cause)}; its forward must be made "
            "of torch operations, for any number of rows"
        )
        raise errors.ArtifactError(message) from cause
    path.write_bytes(graph.SerializeToString(deterministic=True))
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


def _stripped(graph: Any) -> Any:
    """Take out the stack traces: they tell local paths and change the digest."""
    bodies = [graph.graph, *graph.functions]
    for body in bodies:
        for part in (body, *body.node, *body.value_info):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    for part in (*graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        part.ClearField("metadata_props")
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's talk about itself and other libraries from the terminal."""
    talkers = [logging.getLogger(name) for name in ("torch.onnx", _REGISTRATION, "onnxscript")]
    levels = [talker.level for talker in talkers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for talker in talkers:
            talker.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for talker, level in zip(talkers, levels, strict=True):
                talker.setLevel(level)


_REGISTRATION = "torch.onnx._internal.exporter._registration"


def _rows(split: project.Split, count: int) -> project.Split:
    """Return exactly `count` rows, from the start again where the split is shorter."""
    return split.take(np.arange(count) % split.rows)


def check_parity(
    model: nn.Module, session: runtime.Session, split: project.Split, *, task: labels.Task
) -> float:
    """Compare torch with a packed graph on real rows, and return the largest difference.

    Raises
    ------
    ArtifactError
        The answers differ by more than `PARITY`, or name another class beyond a tie.
    """
    worst = 0.0
    for count in PARITY_ROWS:
        rows = _rows(split, count)
        expected = train.predict(model, rows.inputs, task=task)
        found = np.asarray(session.run(rows.inputs)[runtime.SCORES], dtype=np.float32)
        if found.shape != expected.shape:
            message = f"at {count} rows the graph answers {found.shape}, torch {expected.shape}"
            raise errors.ArtifactError(message)
        unit = 1.0 if task != "regression" else max(1.0, float(np.abs(expected).max()))
        gap = float(np.abs(found - expected).max()) / unit
        # Not `gap > PARITY`: a NaN must not pass. Nearer than this only ties change the class.
        if not gap <= PARITY:
            message = f"at {count} rows the graph differs from torch by {gap:.2g}, above {PARITY}"
            raise errors.ArtifactError(message)
        worst = max(worst, gap)
    return worst
