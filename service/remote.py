"""The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`, beside HTTP.

Opened by the worker on its event loop (`service.app`), on a port of its own; asks the same engine,
so both doors answer, store and refuse alike. It is the only file that imports grpc.

Deadlines need no code here: when a client's runs out, or it hangs up, the library cancels the call,
the engine's wait ends, and a request that still waits is never run.

References
----------
Open Inference Protocol, specification/protocol/inference_grpc.md; retry pushback: gRPC proposal A6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc
import structlog
from grpc import aio

from coppice import errors, records
from service import admission, compose, engine, messages, protocol, recorder, replies, tensors

_LOG = structlog.get_logger()

Call: TypeAlias = Callable[[bytes, Any], Awaitable[bytes]]

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""The gRPC status for each HTTP status of an error; any other is INTERNAL."""

GONE = 499
"""Counted for a call that its client gave up, as web servers do."""

AGAIN = (("grpc-retry-pushback-ms", "1000"),)
"""Tells a client that retries by itself when to, as `Retry-After` does."""

_HEADERS = frozenset(
    {"x-request-id", "x-coppice-key", "x-coppice-slices", "x-coppice-lane", "x-coppice-timeout"}
)
"""What metadata says of a request, as the headers of these names do."""

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the protocol puts elements that do not travel raw; 16-bit floats always do."""


class Remote:
    """The gRPC door of one worker.

    Parameters
    ----------
    plane
        The worker's data plane.
    """

    def __init__(self, plane: compose.Plane) -> None:
        self._plane = plane
        serve = plane.tree.serve
        self._server = aio.server(
            options=[
                ("grpc.max_receive_message_length", serve.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                # Every worker listens on the same port; the kernel shares connections out.
                ("grpc.so_reuseport", 1),
            ],
            maximum_concurrent_rpcs=4 * serve.max_queue,
        )
        calls: dict[str, Call] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }
        # Without (de)serialisers the library hands bytes through, and refusals stay ours.
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._answering(name, call))
            for name, call in calls.items()
        }
        generic = grpc.method_handlers_generic_handler(messages.SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port: the one asked for, or a free one for 0.

        Raises
        ------
        EnvironmentProblem
            The port cannot be listened on.
        """
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound: int = self._server.add_insecure_port(place)
        except RuntimeError as cause:
            message = f"cannot listen on {place} for gRPC: {cause}; set `[serve] grpc_port`"
            raise errors.EnvironmentProblem(message) from cause
        await self._server.start()
        return bound

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and wait so long for those that run."""
        await self._server.stop(seconds)
        # Its finaliser speaks to the event loop, so it has to go before that is closed.
        del self._server
        await asyncio.sleep(0)

    def _answering(self, name: str, call: Call) -> Call:
        door: recorder.Door = "infer" if name == "ModelInfer" else "other"

        async def turn(body: bytes, context: Any) -> bytes:
            try:
                answer = await call(body, context)
            except errors.CoppiceError as cause:
                refusal = cause
            except asyncio.CancelledError:
                self._plane.metrics.request(door, GONE)
                raise
            except Exception:  # noqa: BLE001 - the outermost turn of a call
                _LOG.exception("call failed", call=name)
                self._plane.metrics.turn_failed("grpc")
                refusal = errors.CoppiceError("unforeseen error; see the server's log")
            else:
                self._plane.metrics.request(door, 200)
                return answer
            self._plane.metrics.request(door, refusal.http_status)
            return await self._refuse(name, refusal, context)

        return turn

    async def _refuse(self, name: str, cause: errors.CoppiceError, context: Any) -> bytes:
        status = cause.http_status
        if status >= 500:
            _LOG.warning("call refused", call=name, status=status, error=str(cause))
        code = CODES.get(status, grpc.StatusCode.INTERNAL)
        await context.abort(code, str(cause), AGAIN if status in {429, 503} else ())
        raise cause  # `abort` never returns

    async def _server_live(self, body: bytes, context: Any) -> bytes:
        del body, context
        return _written("ServerLiveResponse", live=True)

    async def _server_ready(self, body: bytes, context: Any) -> bytes:
        del body, context
        return _written("ServerReadyResponse", ready=_ready(self._plane))

    async def _model_ready(self, body: bytes, context: Any) -> bytes:
        del context
        asked = messages.read("ModelReadyRequest", body)
        replies.check_model(self._plane, asked.name)
        return _written("ModelReadyResponse", ready=_ready(self._plane, asked.version or None))

    async def _server_metadata(self, body: bytes, context: Any) -> bytes:
        del body, context
        return _written("ServerMetadataResponse", **replies.server())

    async def _model_metadata(self, body: bytes, context: Any) -> bytes:
        del context
        asked = messages.read("ModelMetadataRequest", body)
        replies.check_model(self._plane, asked.name)
        described = replies.model(self._plane, asked.version or None)
        return _written("ModelMetadataResponse", **described)

    async def _model_infer(self, body: bytes, context: Any) -> bytes:
        """Answer an inference request: the data path."""
        asked, raw = messages.split(body)
        replies.check_model(self._plane, asked.model_name)
        headers = {
            key.encode(): value.encode("latin-1")
            for key, value in context.invocation_metadata() or ()
            if key in _HEADERS
        }
        said = _parameters(asked.parameters)
        claims = admission.Claims(
            asked.id or None, said.get("routing_key"), said.get("slices"), said.get("timeout")
        )
        wanted = protocol.wanted(
            [(output.name, _parameters(output.parameters)) for output in asked.outputs],
            otherwise_binary=True,
        )
        replies.check_outputs(self._plane, wanted)
        query = admission.admit(headers, claims, _inputs(asked, raw), asked.model_version or None)
        served = await self._plane.engine.infer(query)
        context.set_trailing_metadata(
            (
                ("x-coppice-version", served.version.tag),
                ("x-coppice-lane", served.lane),
                ("x-request-id", served.request_id),
            )
        )
        return _answer(served, wanted)


def _ready(plane: compose.Plane, version: str | None = None) -> bool:
    try:
        replies.check_ready(plane, version)
    except errors.NotReady:
        return False
    return True


def _written(message: str, /, **fields: Any) -> bytes:
    wire: bytes = messages.CLASSES[message](**fields).SerializeToString()
    return wire


def _parameters(said: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: one.WhichOneof("parameter_choice") for name, one in said.items()}
    return {name: getattr(said[name], which) for name, which in chosen.items() if which}


def _inputs(asked: Any, raw: list[memoryview]) -> dict[str, tensors.Array]:
    if raw and len(raw) != len(asked.inputs):
        message = f"{len(raw)} raw_input_contents do not go with {len(asked.inputs)} inputs"
        raise errors.RequestError(message)
    found: dict[str, tensors.Array] = {}
    for place, tensor in enumerate(asked.inputs):
        name = tensor.name
        protocol.check_name(name, found)
        if raw and tensor.HasField("contents"):
            message = f"input {name!r} has `contents` beside raw_input_contents; send one of them"
            raise errors.RequestError(message)
        if raw:
            found[name] = tensors.from_bytes(name, tensor.datatype, tensor.shape, raw[place])
        else:
            found[name] = _from_contents(tensor)
    return found


def _from_contents(tensor: Any) -> tensors.Array:
    tensors.dtype_of(tensor.name, tensor.datatype)
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        message = f"input {tensor.name!r}: {tensor.datatype} travels in raw_input_contents only"
        raise errors.RequestError(message)
    values = list(getattr(tensor.contents, field))
    if field == "bytes_contents":
        values = [tensors.text(tensor.name, value) for value in values]
    return tensors.from_values(tensor.name, tensor.datatype, tensor.shape, values)


def _answer(served: engine.Served, wanted: protocol.Wanted) -> bytes:
    answer = replies.answer(served)
    outputs = protocol.chosen(answer, wanted)
    described = [
        {
            "name": name,
            "datatype": tensors.datatype(records.dtype_name(array.dtype)),
            "shape": array.shape,
        }
        for name, array in outputs.items()
    ]
    head = messages.CLASSES["ModelInferResponse"](
        model_name=answer.model, model_version=answer.version, id=answer.id, outputs=described
    )
    return messages.join(head, [tensors.to_bytes(array) for array in outputs.values()])
