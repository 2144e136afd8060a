"""The front door: `/v2`, `/feedback` and `/v1/verdict`, before BentoML's own application.

Called by the server for every request; what is not ours goes on to BentoML untouched. The data path
is `_infer_whole`; `service.wire` asks for it by `Front.infer`, everything else comes by ASGI.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from urllib import parse

import structlog

from coppice import errors, verdicts
from service import admission, compose, engine, http, protocol, recorder, replies

_LOG = structlog.get_logger()
_HEADER_LENGTH = protocol.HEADER_LENGTH.encode()

_POLICY = b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
"""What BentoML's page may load: its own files, and not the tag manager that it names as well."""

_REFUSED = (
    "the statistics, configuration and repository extensions are not spoken here: figures are at "
    "/metrics, tensors at /v2/models/MODEL, and versions come and go by `coppice rollout`"
)


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
            if plane is not None and scope.get("path") == "/metrics":
                plane.metrics.flush()
            await self._inner(scope, receive, _fenced(send))
            return
        try:
            if b"%2f" in scope.get("raw_path", b"").lower():
                raise UnknownPath  # noqa: TRY301 - a slash inside a name is no border between two
            if door == "predict":
                await self._hand_on(plane, scope, receive, send)
                return
            response = await _answer(plane, door, scope, receive)
        except http.ClientGone:
            return
        except Exception as cause:  # noqa: BLE001 - the outermost turn of a request
            response = _refusal(plane, scope["path"], cause)
        finally:
            plane.intake.done()
        plane.metrics.request(door, response.status)
        await http.respond(send, response)

    @property
    def small(self) -> int:
        """Size of the largest body, in bytes, that `infer` may be asked; below 0 while not open."""
        plane = self._plane()
        return -1 if plane is None else plane.intake.small

    async def infer(self, path: str, headers: http.Headers, body: bytes) -> http.Response:
        """Answer an inference request that is here whole; the door must be open. Never raises."""
        plane = self._plane()
        if plane is None:
            return http.as_error(errors.NotReady())
        try:
            version = _asked_version(plane, path.split("/"))
            http.check_media(headers, http.JSON, http.BINARY)
            response = await _infer_whole(plane, headers, body, version)
        except Exception as cause:  # noqa: BLE001 - the outermost turn of a request
            response = _refusal(plane, path, cause)
        plane.metrics.request("infer", response.status)
        return response

    async def _hand_on(
        self, plane: compose.Plane, scope: http.Scope, receive: http.Receive, send: http.Send
    ) -> None:
        """Pass `/predict` to BentoML, with its body bounded and its answer counted."""
        body = await plane.intake.read(receive, dict(scope["headers"]))

        async def counted(message: http.Message) -> None:
            if message["type"] == "http.response.start":
                plane.metrics.request("predict", message["status"])
            await send(message)

        await self._inner(scope, http.replay(body, receive), counted)


def _fenced(send: http.Send) -> http.Send:
    """Let the pages of the inner application load nothing from elsewhere: nothing reports home."""

    async def fenced(message: http.Message) -> None:
        if message["type"] == "http.response.start":
            policy = (b"content-security-policy", _POLICY)
            message = {**message, "headers": [*message.get("headers", ()), policy]}
        await send(message)

    return fenced


def _door(path: str) -> recorder.Door | None:
    if path.startswith("/v2/") or path == "/v2":
        return "infer" if path.endswith("/infer") else "other"
    doors: dict[str, recorder.Door] = {
        "/predict": "predict",
        "/feedback": "feedback",
        "/v1/verdict": "verdict",
        "/openapi.json": "other",
    }
    return doors.get(path)


def _refusal(plane: compose.Plane, path: str, cause: Exception) -> http.Response:
    """Return what the client is told, and log what is not its own mistake."""
    if not isinstance(cause, errors.CoppiceError):
        _LOG.error("request failed", path=path, exc_info=cause)
        plane.metrics.turn_failed("front")
        return http.as_error(errors.CoppiceError("unforeseen error; see the server's log"))
    if cause.http_status >= 500:
        _LOG.warning("request refused", path=path, status=cause.http_status, error=str(cause))
    return http.as_error(cause)


async def _answer(
    plane: compose.Plane, door: recorder.Door, scope: http.Scope, receive: http.Receive
) -> http.Response:
    match door:
        case "infer":
            return await _infer(plane, scope, receive)
        case "feedback":
            _method(scope, "POST")
            headers = dict(scope["headers"])
            http.check_media(headers, http.JSON)
            body = await plane.intake.read(receive, headers)
            request_id = await plane.feedback.take(body)
            return http.as_json({"accepted": True, "request_id": request_id})
        case "verdict":
            _method(scope, "GET")
            return http.as_json(_verdict(plane, scope["query_string"]))
        case _:
            content = _describe(plane, scope["path"])
            _method(scope, "GET")
            return http.as_json(content)


async def _infer(plane: compose.Plane, scope: http.Scope, receive: http.Receive) -> http.Response:
    version = _asked_version(plane, scope["path"].split("/"))
    _method(scope, "POST")
    headers = dict(scope["headers"])
    http.check_media(headers, http.JSON, http.BINARY)
    body = await plane.intake.read(receive, headers)
    return await _infer_whole(plane, headers, body, version)


async def _infer_whole(
    plane: compose.Plane, headers: http.Headers, body: bytes, version: str | None
) -> http.Response:
    """Answer an inference request: the data path."""
    length = headers.get(_HEADER_LENGTH)
    request = protocol.decode(body, None if length is None else length.decode("latin-1"))
    replies.check_outputs(plane, request.wanted)
    said = request.parameters
    claims = admission.Claims(
        request.id, said.get("routing_key"), said.get("slices"), said.get("timeout")
    )
    query = admission.admit(headers, claims, request.inputs, version)
    served = await plane.engine.infer(query)
    return http.compressed(encode(served, request.wanted), headers)


def _asked_version(plane: compose.Plane, parts: list[str]) -> str | None:
    """Check the model in `/v2/models/MODEL[/versions/VERSION]/infer` and return the version."""
    if parts[2] != "models" or not (
        len(parts) == 5 or (len(parts) == 7 and parts[4] == "versions")
    ):
        raise UnknownPath
    replies.check_model(plane, parts[3])
    return parts[5] if len(parts) == 7 else None


def encode(served: engine.Served, wanted: protocol.Wanted) -> http.Response:
    """Write a committed answer as a response."""
    encoded = protocol.encode(replies.answer(served), wanted)
    common = _answered_by(served.version.tag, served.lane)
    request_id = (b"x-request-id", served.request_id.encode("latin-1"))
    if encoded.header_length is None:
        return http.Response(200, encoded.body, (http.JSON, *common, request_id))
    length = (_HEADER_LENGTH, b"%d" % encoded.header_length)
    return http.Response(200, encoded.body, (http.BINARY, length, *common, request_id))


@functools.lru_cache(maxsize=64)
def _answered_by(tag: str, lane: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that name version and lane."""
    return (b"x-coppice-version", tag.encode()), (b"x-coppice-lane", lane.encode())


def _method(scope: http.Scope, allowed: str) -> None:
    """Refuse other methods; `HEAD` is `GET`, and the server leaves out the body."""
    said = scope["method"]
    if said != allowed and (said, allowed) != ("HEAD", "GET"):
        message = f"{scope['path'][:120]} takes {allowed}, not {said[:20]}"
        also = "GET, HEAD" if allowed == "GET" else allowed
        raise http.MethodNotAllowed(message, allowed=also)


class UnknownPath(errors.RequestError):
    """There is nothing at this path. `/v2` lists what this server does."""

    http_status = 404


def _verdict(plane: compose.Plane, query: bytes) -> dict[str, Any]:
    name = plane.tree.project.name
    asked = parse.parse_qs(query.decode("latin-1")).get("model", [name])[0]
    if asked != name:
        return verdicts.undecided(f"model {asked[:80]!r} is not served here")
    in_force = plane.switchboard.lanes
    return verdicts.read(plane.index, in_force.table.candidate if in_force else None)


def _describe(plane: compose.Plane, path: str) -> dict[str, Any]:
    """Answer the health and metadata part of the protocol."""
    if path == "/openapi.json":
        return replies.document(plane)
    match path.rstrip("/").split("/")[2:]:
        case []:
            return replies.server()
        case ["health", "live"]:
            return {"live": True}
        case ["health", "ready"]:
            replies.check_ready(plane)
            # The specification names this field `live`, its gRPC twin `ready`.
            return {"live": True, "ready": True}
        case ["models", "stats"] if plane.tree.project.name != "stats":
            raise UnknownPath(_REFUSED)
        case ["models", name, *rest] if rest[:1] in ([], ["ready"], ["versions"]):
            replies.check_model(plane, name)
            return _describe_model(plane, name, rest)
        case [*_, "stats" | "config" | "index" | "load" | "unload"]:
            raise UnknownPath(_REFUSED)
    raise UnknownPath


def _describe_model(plane: compose.Plane, name: str, rest: list[str]) -> dict[str, Any]:
    match rest:
        case []:
            return replies.model(plane)
        case ["versions", version]:
            return replies.model(plane, version)
        case ["ready"]:
            replies.check_ready(plane)
            return {"name": name, "ready": True}
        case ["versions", version, "ready"]:
            replies.check_ready(plane, version)
            return {"name": name, "ready": True}
        case [*_, "stats" | "config" | "load" | "unload"]:
            raise UnknownPath(_REFUSED)
    raise UnknownPath
