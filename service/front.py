"""The front door: `/v2`, `/feedback` and `/v1/verdict`, before BentoML's own application.

Called by the server for every request; what is not ours goes on to BentoML untouched. The data path
is `_infer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib import parse

import numpy as np
import structlog

import coppice
from coppice import artifact, errors
from service import (
    admission,
    compose,
    engine,
    http,
    lanes,
    protocol,
    recorder,
    tensors,
    verdicts,
    versions,
)

_LOG = structlog.get_logger()

NAME = "coppice"
PLATFORM = "onnxruntime_onnx"


class Front:
    """An ASGI application in front of another one.

    Parameters
    ----------
    inner
        Answers what is not ours.
    plane
        Returns the data plane; `None` before it is open.
    """

    def __init__(self, inner: http.App, plane: Callable[[], compose.Plane | None]) -> None:
        self._inner = inner
        self._plane = plane

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer a request, or hand it on."""
        door = _door(scope["path"]) if scope["type"] == "http" else None
        plane = self._plane()
        if door is None or plane is None:
            await self._inner(scope, receive, send)
            return
        try:
            if door == "predict":
                await self._hand_on(plane, scope, receive, send)
                return
            response = await _answer(plane, door, scope, receive)
        except http.ClientGone:
            return
        except errors.CoppiceError as cause:
            response = http.as_error(cause)
            _log_refusal(scope["path"], cause)
        except Exception:  # noqa: BLE001 - the outermost turn of a request
            _LOG.exception("request failed", path=scope["path"])
            plane.metrics.turn_failed("front")
            response = http.as_error(errors.CoppiceError("unforeseen error; see the server's log"))
        plane.metrics.request(door, response.status)
        await http.respond(send, response)

    async def _hand_on(
        self, plane: compose.Plane, scope: http.Scope, receive: http.Receive, send: http.Send
    ) -> None:
        """Pass `/predict` to BentoML, with its body bounded and its answer counted."""
        limit = plane.tree.serve.max_body_bytes
        body = await http.read_body(receive, dict(scope["headers"]), limit)

        async def counted(message: http.Message) -> None:
            if message["type"] == "http.response.start":
                plane.metrics.request("predict", message["status"])
            await send(message)

        await self._inner(scope, http.replay(body, receive), counted)


def _door(path: str) -> recorder.Door | None:
    if path.startswith("/v2/") or path == "/v2":
        return "infer" if path.endswith("/infer") else "other"
    doors: dict[str, recorder.Door] = {
        "/predict": "predict",
        "/feedback": "feedback",
        "/v1/verdict": "verdict",
    }
    return doors.get(path)


def _log_refusal(path: str, cause: errors.CoppiceError) -> None:
    # A client's mistake is its own to see; ours must be found in the log.
    if cause.http_status >= 500:
        _LOG.warning("request refused", path=path, status=cause.http_status, error=str(cause))


async def _answer(
    plane: compose.Plane, door: recorder.Door, scope: http.Scope, receive: http.Receive
) -> http.Response:
    match door:
        case "infer":
            return await _infer(plane, scope, receive)
        case "feedback":
            _method(scope, "POST")
            limit = plane.tree.serve.max_body_bytes
            body = await http.read_body(receive, dict(scope["headers"]), limit)
            request_id = await plane.feedback.take(body)
            return http.as_json({"accepted": True, "request_id": request_id})
        case "verdict":
            _method(scope, "GET")
            return http.as_json(_verdict(plane, scope["query_string"]))
        case _:
            _method(scope, "GET")
            return _describe(plane, scope["path"])


async def _infer(plane: compose.Plane, scope: http.Scope, receive: http.Receive) -> http.Response:
    """Answer an inference request: the data path."""
    _method(scope, "POST")
    version = _named_version(plane, scope["path"].split("/"))
    headers = dict(scope["headers"])
    body = await http.read_body(receive, headers, plane.tree.serve.max_body_bytes)
    length = headers.get(b"inference-header-content-length")
    request = protocol.decode(body, None if length is None else length.decode("latin-1"))
    said = request.parameters
    claims = admission.Claims(request.id, said.get("routing_key"), said.get("slices"))
    query = admission.admit(headers, claims, request.inputs, version)
    served = await plane.engine.infer(query)
    return encode(served, request.wanted)


def _named_version(plane: compose.Plane, parts: list[str]) -> str | None:
    """Check the model in `/v2/models/MODEL[/versions/VERSION]/...` and return the version."""
    name = plane.tree.project.name
    if len(parts) < 4 or parts[2] != "models" or parts[3] != name:
        asked = parts[3] if len(parts) > 3 else ""
        message = f"model {asked[:80]!r} is not served here; this server serves {name!r}"
        raise errors.UnknownModel(message)
    if len(parts) > 5 and parts[4] == "versions":
        return parts[5]
    return None


def encode(served: engine.Served, wanted: protocol.Wanted) -> http.Response:
    """Write a committed answer as a response."""
    outputs: dict[str, tensors.Array] = {"scores": served.scores}
    if served.label is not None:
        outputs["label"] = served.label
    tag = served.version.tag
    model, _, version = tag.partition(":")
    encoded = protocol.encode(protocol.Answer(served.request_id, model, version, outputs), wanted)
    common = (
        (b"x-coppice-version", tag.encode()),
        (b"x-coppice-lane", served.lane.encode()),
        (b"x-request-id", served.request_id.encode("latin-1")),
    )
    if encoded.header_length is None:
        return http.Response(200, encoded.body, (http.JSON, *common))
    length = (protocol.HEADER_LENGTH.encode(), str(encoded.header_length).encode())
    return http.Response(200, encoded.body, (http.BINARY, length, *common))


def _method(scope: http.Scope, allowed: str) -> None:
    if scope["method"] != allowed:
        message = f"{scope['path'][:120]} takes {allowed}, not {scope['method'][:20]}"
        raise MethodNotAllowed(message)


class MethodNotAllowed(errors.RequestError):
    """This path takes another method."""

    http_status = 405


class UnknownPath(errors.RequestError):
    """There is nothing at this path. `/v2` lists what this server does."""

    http_status = 404


def _verdict(plane: compose.Plane, query: bytes) -> dict[str, Any]:
    name = plane.tree.project.name
    asked = parse.parse_qs(query.decode("latin-1")).get("model", [name])[0]
    if asked != name:
        return verdicts.undecided(f"model {asked[:80]!r} is not served here")
    in_force = plane.switchboard.lanes
    return verdicts.read(plane.log, in_force.table.candidate if in_force else None)


def _describe(plane: compose.Plane, path: str) -> http.Response:
    """Answer the health and metadata part of the protocol."""
    match path.rstrip("/").split("/")[2:]:
        case []:
            extensions = ["binary_tensor_data"]
            return http.as_json(
                {"name": NAME, "version": coppice.__version__, "extensions": extensions}
            )
        case ["health", "live"]:
            return http.as_json({"live": True})
        case ["health", "ready"]:
            return _readiness(plane, None)
        case ["models", _, *rest] if rest in ([], ["ready"]) or rest[:1] == ["versions"]:
            version = _named_version(plane, path.split("/"))
            if rest[-1:] == ["ready"]:
                return _readiness(plane, version)
            return http.as_json(_metadata(plane.switchboard.in_force(), version))
    raise UnknownPath


def _readiness(plane: compose.Plane, version: str | None) -> http.Response:
    if not plane.ready:
        plane.switchboard.in_force()
        raise errors.NotReady("the event log is not written; see the server's log")
    if version is not None:
        _loaded(plane.switchboard.in_force(), version)
    return http.as_json({"ready": True})


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


def _metadata(in_force: lanes.Lanes, version: str | None) -> dict[str, Any]:
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
