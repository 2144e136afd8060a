"""Spans of requests, sent to a real receiver of OTLP over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import registry as collectors

from coppice import runtime
from service import compose, front, recorder, tracing
from tests.support import artifacts, collector, serving

SERVER = 2
"""`SPAN_KIND_SERVER` in OTLP."""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
"""The example of W3C Trace Context, section 3.2."""


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(tmp_path)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[collector.Collector]:
    with collector.collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def asked(made: serving.Project, *requests: dict[str, Any]) -> list[serving.Reply]:
    """Answer requests, one after another, through a traced door of a traced data plane."""

    async def run() -> list[serving.Reply]:
        loop = asyncio.get_running_loop()
        sending = tracing.Tracing()
        plane = compose.Plane(
            made.tree,
            loop=loop,
            metrics=recorder.Recorder(collectors.CollectorRegistry()),
            ways=sending.ways(),
        )
        door = sending.around(front.Front(serving.nothing, lambda: plane))
        try:
            await serving.until(lambda: plane.ready)
            return [await serving.through(door, **request) for request in requests]
        finally:
            plane.close()
            await asyncio.to_thread(sending.close)

    return asyncio.run(run())


def infer(**fields: Any) -> dict[str, Any]:
    return {"path": serving.INFER, "body": serving.infer_body(**fields)}


def test_a_request_leaves_a_span_of_itself_and_one_of_each_step(
    made: serving.Project, receiver: collector.Collector
) -> None:
    asked(made, infer(id="r1"))
    spans = receiver.of("r1")
    assert sorted(spans) == ["POST infer", "commit", "inference", "queue"]
    whole = spans["POST infer"]
    assert (whole.kind, whole.parent, whole.failed) == (SERVER, "", False)
    assert {spans[name].parent for name in ("queue", "inference", "commit")} == {whole.id}
    order = [
        whole.began,
        spans["queue"].began,
        spans["queue"].ended,
        spans["inference"].began,
        spans["inference"].ended,
        spans["commit"].began,
        spans["commit"].ended,
        whole.ended,
    ]
    assert order == sorted(order)
    assert 0 not in order


def test_a_span_names_model_version_lane_and_status(
    made: serving.Project, receiver: collector.Collector
) -> None:
    asked(made, infer(id="r1", rows=[[1.0] * 4] * 3))
    spans = receiver.of("r1")
    common = {
        "coppice.model": serving.MODEL,
        "coppice.version": made.champion,
        "coppice.lane": "stable",
        "coppice.request_id": "r1",
    }
    assert spans["inference"].known == {**common, "coppice.rows": 3}
    assert spans["POST infer"].known == {
        **common,
        "http.request.method": "POST",
        "url.path": serving.INFER,
        "http.response.status_code": 200,
    }
    assert spans["POST infer"].resource["service.name"] == "coppice"


def test_the_clients_trace_goes_on(made: serving.Project, receiver: collector.Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    asked(made, {**infer(id="r1"), "headers": headers})
    whole = receiver.of("r1")["POST infer"]
    assert (whole.trace, whole.parent) == (TRACE, PARENT)


def test_what_the_client_does_not_sample_is_not_sent(
    made: serving.Project, receiver: collector.Collector
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    asked(made, {**infer(id="r1"), "headers": headers}, infer(id="r2"))
    assert receiver.of("r1") == {}
    assert "commit" in receiver.of("r2")


def test_each_request_has_a_trace_of_its_own(
    made: serving.Project, receiver: collector.Collector
) -> None:
    asked(made, infer(id="r1"), infer(id="r2"))
    assert receiver.of("r1")["commit"].trace != receiver.of("r2")["commit"].trace
    assert len(receiver.spans) == 8


def test_a_refused_request_shows_its_status_and_no_steps(
    made: serving.Project, receiver: collector.Collector
) -> None:
    replies = asked(made, {"path": serving.INFER, "body": b"{"})
    assert replies[0].status == 400
    (only,) = receiver.spans
    assert (only.name, only.known["http.response.status_code"]) == ("POST infer", 400)
    assert not only.failed


def test_a_request_that_the_server_could_not_answer_is_marked_as_failed(
    made: serving.Project, receiver: collector.Collector
) -> None:
    made.route(champion=made.add(artifacts.failing_classifier, above=1.5))
    replies = asked(made, infer(rows=[[2.0] * 4]))
    assert replies[0].status == 503
    assert [span.failed for span in receiver.spans if span.kind == SERVER] == [True]


def test_a_fallback_is_an_event_of_the_request(
    made: serving.Project, receiver: collector.Collector
) -> None:
    made.route(candidate=made.add(artifacts.failing_classifier, above=1.5), weight=1.0)
    asked(made, infer(id="r1", rows=[[2.0] * 4]))
    assert receiver.of("r1")["POST infer"].events == ("fallback",)


def test_feedback_has_a_span_and_health_has_none(
    made: serving.Project, receiver: collector.Collector
) -> None:
    feedback = {"path": "/feedback", "body": b'{"request_id": "r1", "label": "yes"}'}
    asked(made, {"path": "/v2/health/live", "method": "GET"}, infer(id="r1"), feedback)
    names = [span.name for span in receiver.spans if span.kind == SERVER]
    assert names == ["POST infer", "POST feedback"]


def test_requests_are_answered_where_no_collector_listens(
    made: serving.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{serving.free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    replies = asked(made, infer(), infer())
    assert [reply.status for reply in replies] == [200, 200]


def test_each_part_of_a_batch_knows_when_the_batch_ran() -> None:
    scores = np.arange(6, dtype=np.float32).reshape(3, 2)
    model = tracing.stamped(lambda _: runtime.Answers(scores, scores))
    whole: Any = model({}).scores
    began, ended = whole.run
    assert 0 < began <= ended
    assert whole[1:2].run == (began, ended)
    assert whole.tobytes() == scores.tobytes()
