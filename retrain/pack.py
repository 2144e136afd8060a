"""Pack a trained model into an artifact: the ONNX graph that serves, and all that judging needs.

Called by the candidate's flow, at its end. What the graph is and what runs it was decided before:
by `packing`, or else it is exported here and served as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import safetensors.numpy
from torch import nn

from coppice import artifact, features, labels, project, runtime
from retrain import codes, onnx_export, reference, weights
from retrain.pruning import surgery


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
    engine, precision
        What runs the graph, and what it computes in.
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
    engine: artifact.Engine = "onnxruntime"
    precision: artifact.Precision = "fp32"


def pack(model: nn.Module, parts: PackParts, folder: Path) -> str:
    """Write an artifact into an empty or new folder, seal it, and return its tag.

    A graph that lies there before is used: one of full precision is compared with the model once
    more, any other was judged by who put it there.

    Raises
    ------
    ArtifactError
        The model cannot be exported, or the graph does not answer like the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / artifact.MODEL
    if not path.exists():
        onnx_export.export(model, parts.data.validation, path, task=parts.task)
    session = runtime.load(runtime.Packed(path, parts.engine, parts.precision))
    if parts.precision == "fp32":
        onnx_export.check_parity(model, session, parts.data.validation, task=parts.task)
    weights.save(model, folder / artifact.WEIGHTS)
    if parts.surgery is not None:
        (folder / artifact.SURGERY).write_text(parts.surgery.to_json(), encoding="utf-8")
    monitoring = reference.monitoring(session, parts.data, task=parts.task)
    safetensors.numpy.save_file(monitoring, folder / artifact.MONITORING)
    clean = reference.clean_rows(session, monitoring, parts.data)
    safetensors.numpy.save_file(clean, folder / artifact.REFERENCE)
    card = msgspec.json.format(msgspec.json.encode(parts.card)) + b"\n"
    (folder / artifact.CARD).write_bytes(card)
    specs = reference.input_specs(parts.data.train)
    manifest = _manifest(parts, specs, monitoring)
    known = codes.known(path, specs)
    return artifact.write_manifest(folder, msgspec.structs.replace(manifest, codes=known))


def _manifest(
    parts: PackParts,
    specs: tuple[artifact.TensorSpec, ...],
    monitoring: Mapping[str, project.Array],
) -> artifact.Manifest:
    components = len(monitoring.get("pca.components", ()))
    return artifact.Manifest(
        name=parts.name,
        task=parts.task,
        classes=parts.data.classes,
        inputs=specs,
        features=features.feature_names(specs, parts.data.classes, components),
        scale=parts.scale,
        engine=parts.engine,
        precision=parts.precision,
        parent=parts.parent,
        accepted=parts.accepted,
        accepted_rows=parts.accepted_rows,
        created_at=parts.created_at,
    )
