"""Traces of requests, sent over OTLP/HTTP: the door, the wait, the model and the commit.

Loaded by `service.app` only where `coppice.telemetry.traced` finds an exporter in the environment;
otherwise nothing of this runs. It is the only file that imports OpenTelemetry. Spans are made by
parts that stand around the engine's own, so that the way of a request stays as short without them:

- `POST infer` (server): the whole request, as far as the door sees it; continues the client's trace
  where its `traceparent` header says so (W3C Trace Context).
- `queue`: from the routed request to the run that answers it.
- `inference`: that run of the model, which other requests may share.
- `commit`: until the event is in the log.

Spans are queued in memory, bounded, and sent by a thread: a collector that is slow or gone loses
spans, never requests.

References
----------
OpenTelemetry, semantic conventions for HTTP spans; environment variables of the SDK (`OTEL_*`).
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import Any

import numpy as np
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace import export as exports
from opentelemetry.trace.propagation import tracecontext

import coppice
from coppice import errors, records, runtime
from service import admission, batcher, compose, engine, http, lanes, router

_REQUEST: contextvars.ContextVar[contexts.Context | None] = contextvars.ContextVar(
    "request", default=None
)
"""The span of the request that this task answers; `None` where it is not sampled."""
_PROPAGATOR = tracecontext.TraceContextTextMapPropagator()
_CARRIERS = frozenset({b"traceparent", b"tracestate"})
_NOTHING = contexts.Context()


class Tracing:
    """Makes spans and sends them, as the environment says.

    Parameters
    ----------
    exporter
        Where spans go; by default over OTLP/HTTP to `OTEL_EXPORTER_OTLP_ENDPOINT`.
    """

    def __init__(self, exporter: exports.SpanExporter | None = None) -> None:
        own = Resource({"service.name": "coppice", "service.version": coppice.__version__})
        self._provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()))
        sending = exports.BatchSpanProcessor(exporter or OTLPSpanExporter())
        self._provider.add_span_processor(sending)
        self._tracer = self._provider.get_tracer("coppice", coppice.__version__)

    def around(self, door: http.App) -> http.App:
        """Return the front door with a span around each of its requests."""
        return Traced(door, self._tracer)

    def ways(self) -> compose.Ways:
        """Return how the data plane makes the parts that are traced."""
        return compose.Ways(lambda parts: Engine(parts, self._tracer), stamped)

    def close(self) -> None:
        """Send what waits, and end the thread."""
        self._provider.shutdown()


class Traced:
    """An ASGI application around the front door: a span for each request that is ours.

    Parameters
    ----------
    inner
        The front door.
    tracer
        Makes the spans.
    """

    def __init__(self, inner: http.App, tracer: trace.Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer a request within its span."""
        name = _name(scope)
        if name is None:
            await self._inner(scope, receive, send)
            return
        known = {"http.request.method": scope["method"], "url.path": scope["path"][:200]}
        span = self._tracer.start_span(
            name, _continued(scope), kind=trace.SpanKind.SERVER, attributes=known
        )
        if not span.is_recording():
            await self._inner(scope, receive, send)
            return
        _REQUEST.set(trace.set_span_in_context(span, _NOTHING))

        async def seen(message: http.Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(trace.StatusCode.ERROR)
            await send(message)

        try:
            await self._inner(scope, receive, seen)
        finally:
            span.end()
            _REQUEST.set(None)


def _continued(scope: http.Scope) -> contexts.Context:
    """Return the client's trace, or none."""
    carrier = {
        key.decode(): value.decode("latin-1") for key, value in scope["headers"] if key in _CARRIERS
    }
    return _PROPAGATOR.extract(carrier, _NOTHING) if carrier else _NOTHING


def _name(scope: http.Scope) -> str | None:
    """Name the span of a request, the same for all versions; `None` for what is traced not."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path = scope["path"]
    if path.startswith("/v2/") and path.endswith("/infer"):
        return "POST infer"
    return {"/predict": "POST predict", "/feedback": "POST feedback"}.get(path)


class Engine(engine.Engine):
    """The engine, with spans for the wait, the model and the commit.

    Parameters
    ----------
    parts
        As for the engine.
    tracer
        Makes the spans.
    """

    def __init__(self, parts: engine.Parts, tracer: trace.Tracer) -> None:
        super().__init__(parts)
        self._tracer = tracer

    async def _reply(
        self, in_force: lanes.Lanes, choice: router.Choice, query: admission.Query, rows: int
    ) -> engine.Reply:
        whole = _REQUEST.get()
        if whole is None:
            return await super()._reply(in_force, choice, query, rows)
        submitted = time.time_ns()
        reply = await super()._reply(in_force, choice, query, rows)
        known: dict[str, str | int] = {
            "coppice.model": reply.version.manifest.name,
            "coppice.version": reply.version.tag,
            "coppice.lane": reply.choice.lane,
            "coppice.request_id": query.request_id,
        }
        trace.get_current_span(whole).set_attributes(known)
        scores: Any = reply.answers.scores
        began, ended = scores.run
        lane = {"coppice.lane": reply.choice.lane}
        for name, start, end, said in (
            ("queue", submitted, began, lane),
            ("inference", began, ended, {**known, "coppice.rows": rows}),
        ):
            self._tracer.start_span(name, whole, attributes=said, start_time=start).end(end)
        if reply.fallback is not None:
            because = {"coppice.fallback_version": reply.fallback.version}
            trace.get_current_span(whole).add_event("fallback", because)
        return reply

    def _commit(self, record: records.Prediction) -> asyncio.Future[None]:
        whole = _REQUEST.get()
        if whole is None:
            return super()._commit(record)
        span = self._tracer.start_span("commit", whole)
        try:
            stored = super()._commit(record)
        except errors.CoppiceError:
            span.end()
            raise
        stored.add_done_callback(lambda _: span.end())
        return stored


class _Stamped(np.ndarray[Any, Any]):
    """Scores that know when the run began and ended that made them; so do their slices."""

    run: tuple[int, int]

    def __array_finalize__(self, made_from: Any) -> None:
        self.run = getattr(made_from, "run", (0, 0))


def stamped(predict: batcher.Predict) -> batcher.Predict:
    """Return a model that notes when each of its runs began and ended, in ns since 1970."""

    def run(inputs: batcher.Inputs) -> runtime.Answers:
        began = time.time_ns()
        answers = predict(inputs)
        scores = answers.scores.view(_Stamped)
        scores.run = (began, time.time_ns())
        return runtime.Answers(scores, answers.features)

    return run
