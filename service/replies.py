"""What the server says about itself, its model and its answers, whichever protocol asks.

Called by the doors of the Open Inference Protocol, HTTP (`service.front`) and gRPC
(`service.remote`), so that both tell the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import coppice
from coppice import artifact, errors
from service import compose, engine, lanes, openapi, protocol, tensors, versions

NAME = "coppice"
PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data",)


def server() -> dict[str, Any]:
    """Return the server's metadata."""
    return {"name": NAME, "version": coppice.__version__, "extensions": list(EXTENSIONS)}


def check_model(plane: compose.Plane, name: str) -> None:
    """Refuse a model that is not the project's.

    Raises
    ------
    UnknownModel
        It is another.
    """
    served = plane.tree.project.name
    if name != served:
        message = f"model {name[:80]!r} is not served here; this server serves {served!r}"
        raise errors.UnknownModel(message)


def check_outputs(plane: compose.Plane, wanted: protocol.Wanted) -> None:
    """Refuse an output that the model does not have, before an answer is made and stored.

    Raises
    ------
    RequestError
        An output was asked for that there is not.
    NotReady
        There is no champion in memory.
    """
    if wanted.names is not None:
        manifest = plane.switchboard.in_force().champion.manifest
        protocol.check_outputs(wanted, [output["name"] for output in _outputs(manifest)])


def check_ready(plane: compose.Plane, version: str | None = None) -> None:
    """Find out whether the model, or one version of it, answers requests.

    Raises
    ------
    NotReady
        It does not; the message says why.
    UnknownVersion
        The version is not served here.
    """
    in_force = plane.switchboard.in_force()
    if not plane.ready:
        raise errors.NotReady("the event log is not written; see the server's log")
    if version is not None:
        _loaded(in_force, version)


def _loaded(in_force: lanes.Lanes, version: str) -> versions.Version:
    """Return the loaded version that goes by this tag or id."""
    for loaded in in_force.loaded().values():
        if version in {loaded.tag, loaded.tag.partition(":")[2]}:
            return loaded
    if in_force.lane_of(version) is not None:
        message = f"version {version[:80]!r} is in the routing table, but could not be loaded"
        raise errors.NotReady(message)
    message = f"version {version[:80]!r} is not served here"
    raise errors.UnknownVersion(message)


def model(plane: compose.Plane, version: str | None = None) -> dict[str, Any]:
    """Return the metadata of the champion, or of one version.

    Raises
    ------
    NotReady
        The version, or any champion, is not in memory.
    UnknownVersion
        The version is not served here.
    """
    in_force = plane.switchboard.in_force()
    chosen = in_force.champion if version is None else _loaded(in_force, version)
    manifest = chosen.manifest
    ids = [loaded.tag.partition(":")[2] for loaded in in_force.loaded().values()]
    return {
        "name": manifest.name,
        "versions": list(dict.fromkeys(ids)),
        "platform": PLATFORM,
        "inputs": [_described(spec) for spec in manifest.inputs],
        "outputs": _outputs(manifest),
    }


def document(plane: compose.Plane) -> dict[str, Any]:
    """Return the OpenAPI document; without examples while there is no champion."""
    in_force = plane.switchboard.lanes
    return openapi.document(plane.tree.project.name, model(plane) if in_force else None)


def _described(spec: artifact.TensorSpec) -> dict[str, Any]:
    kind = tensors.datatype(np.dtype(spec.dtype).name)
    return {"name": spec.name, "datatype": kind, "shape": [-1, *spec.shape]}


def _outputs(manifest: artifact.Manifest) -> list[dict[str, Any]]:
    if not manifest.classes:
        return [{"name": "scores", "datatype": "FP32", "shape": [-1]}]
    return [
        {"name": "scores", "datatype": "FP32", "shape": [-1, len(manifest.classes)]},
        {"name": "label", "datatype": "INT64", "shape": [-1]},
    ]


def answer(served: engine.Served) -> protocol.Answer:
    """Return a committed answer as the protocol tells it."""
    outputs: dict[str, tensors.Array] = {"scores": served.scores}
    if served.label is not None:
        outputs["label"] = served.label
    name, _, version = served.version.tag.partition(":")
    return protocol.Answer(served.request_id, name, version, outputs)
