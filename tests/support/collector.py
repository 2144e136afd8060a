"""A collector of traces that listens on loopback and keeps what it is sent."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import http.server
import threading
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@dataclasses.dataclass(frozen=True)
class Span:
    """A span as it was sent; ids in hex, times in nanoseconds."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    known: dict[str, Any]
    resource: dict[str, Any]
    failed: bool
    events: tuple[str, ...]


@dataclasses.dataclass
class Collector:
    """Where the collector listens, and the spans that it got."""

    url: str
    spans: list[Span] = dataclasses.field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a program send its spans here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def of(self, request_id: str) -> dict[str, Span]:
        """The spans of the trace that a request is in, by name."""
        inside = {
            span.trace for span in self.spans if span.known.get("coppice.request_id") == request_id
        }
        return {span.name: span for span in self.spans if span.trace in inside}


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """Listen for OTLP over HTTP."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_port}")
        server.found = found  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers `POST /v1/traces` as OTLP asks for."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        if self.path == "/v1/traces":
            self.server.found.spans.extend(_spans(request))  # type: ignore[attr-defined]
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def _spans(request: Any) -> Iterator[Span]:
    for group in request.resource_spans:
        resource = _known(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    kind=span.kind,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    known=_known(span.attributes),
                    resource=resource,
                    failed=span.status.code == 2,
                    events=tuple(event.name for event in span.events),
                )


def _known(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
