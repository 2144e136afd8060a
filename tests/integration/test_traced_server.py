"""A traced server over HTTP: its spans arrive at a collector, through every door."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import collector, serving

pytestmark = pytest.mark.slow

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
"""The example of W3C Trace Context, section 3.2."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[collector.Collector]:
    with collector.collector() as found:
        yield found


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, receiver: collector.Collector
) -> Iterator[serving.Server]:
    fields = {"port": serving.free_port(), "workers": 2}
    made = serving.project(tmp_path_factory.mktemp("traced"), serve=fields)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in receiver.environment.items():
            patch.setenv(name, value)
        with serving.server(made) as started:
            yield started


def test_a_request_over_http_is_one_trace(
    running: serving.Server, receiver: collector.Collector
) -> None:
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    assert running.ask(serving.INFER, serving.infer_body(id="r1"), headers=headers).status == 200
    running.wait_until(lambda: len(receiver.of("r1")) == 4)
    assert {span.trace for span in receiver.of("r1").values()} == {TRACE}


def test_the_typed_door_is_traced_too(
    running: serving.Server, receiver: collector.Collector
) -> None:
    body = json.dumps({"inputs": {"x": [[1.0] * 4]}, "request_id": "r2"}).encode()
    assert running.ask("/predict", body).status == 200
    running.wait_until(lambda: len(receiver.of("r2")) == 4)
    spans = receiver.of("r2")
    assert spans["inference"].parent == spans["POST predict"].id


def test_spans_that_wait_are_sent_before_the_server_ends(
    running: serving.Server, receiver: collector.Collector
) -> None:
    assert running.ask(serving.INFER, serving.infer_body(id="r3")).status == 200
    assert running.stop() == 0
    assert len(receiver.of("r3")) == 4
