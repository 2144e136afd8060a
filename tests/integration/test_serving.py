"""The real server over HTTP: one process for all of these tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib import parse

import pytest

from coppice import artifact, errors, records
from service import serve
from tests.support import artifacts, house, load, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    fields = {
        "port": serving.free_port(),
        "max_body_bytes": 65_536,
        "crash_guard": 1000,
        "candidate_timeout_seconds": 5.0,
    }
    return serving.project(tmp_path_factory.mktemp("served"), serve=fields)


@pytest.fixture(scope="module")
def running(made: serving.Project) -> Iterator[serving.Server]:
    with serving.server(made) as started:
        yield started


@pytest.fixture(autouse=True)
def _champion_alone(made: serving.Project, running: serving.Server) -> None:
    """Each test starts from a routing table of the champion alone."""
    take(made, running)


def take(made: serving.Project, running: serving.Server, **fields: Any) -> None:
    """Write a routing table and wait until the server routes by it."""
    generation = made.route(**fields).generation
    running.wait_until(lambda: serving.metric(running, "coppice_routing_generation") == generation)


def stored(made: serving.Project, kind: type[records.Record]) -> list[Any]:
    log = made.log
    try:
        return serving.stored(log, kind)
    finally:
        log.close()


def prediction(made: serving.Project, request_id: str) -> records.Prediction:
    found = [p for p in stored(made, records.Prediction) if p.request_id == request_id]
    assert isinstance(found[0], records.Prediction)
    return found[0]


def test_a_request_in_json_is_answered_and_stored(
    made: serving.Project, running: serving.Server
) -> None:
    reply = running.ask(serving.INFER, serving.infer_body(id="json-1"))
    assert (reply.status, reply.json["outputs"][1]["data"]) == (200, [1])
    assert reply.headers["x-coppice-version"] == made.champion
    assert prediction(made, "json-1").version == made.champion


def test_the_reference_client_works_with_its_defaults(
    made: serving.Project, running: serving.Server
) -> None:
    place = parse.urlsplit(running.url).netloc
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.triton", place],
        cwd=house.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["http"]
    assert (found["live"], found["ready"], found["model"]) == (True, True, True)
    assert found["metadata"] == ["FP32"]
    assert found["server"] == "coppice"
    assert (found["defaults"], found["json"], found["gzip"]) == ([1, 0], [1, 0], [1, 0])
    assert "this server serves 'tiny'" in found["refusal"]
    assert prediction(made, "t1").outputs["scores"].shape == (2, 2)


def test_the_typed_door_answers_the_same_way(
    made: serving.Project, running: serving.Server
) -> None:
    body = {"inputs": {"x": [[1, 1, 1, 1]]}, "request_id": "typed-1", "slices": {"pen": "ink"}}
    reply = running.ask("/predict", json.dumps(body).encode())
    assert reply.status == 200
    assert (reply.json["request_id"], reply.json["class"]) == ("typed-1", ["yes"])
    assert (reply.json["version"], reply.json["lane"]) == (made.champion, "stable")
    assert prediction(made, "typed-1").slices == {"pen": "ink"}


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"inputs": {"x": [[1, 2]]}}, 400, "expected ['rows', 4]"),
        ({"inputs": {"y": [[1, 2, 3, 4]]}}, 400, "the model takes ['x']"),
        ({"inputs": {"x": [["a", "b", "c", "d"]]}}, 400, "does not become float32"),
        ({"inputs": {"x": [[1, 2], [3]]}}, 400, "does not become float32"),
        ({"inputs": {"x": [[1, 2, 3, 1e39]]}}, 400, "NaN or infinite"),
        ({"inputs": {"x": [[1, 1, 1, 1]]}, "slices": {"": "a"}}, 400, "slice"),
        ({}, 400, "validation error"),
        ({"inputs": {"x": [[0] * 40_000]}}, 413, "max_body_bytes"),
    ],
)
def test_the_typed_door_says_what_is_wrong(
    running: serving.Server, body: dict[str, Any], status: int, text: str
) -> None:
    reply = running.ask("/predict", json.dumps(body).encode())
    assert (reply.status, text in reply.json["error"]) == (status, True), reply.body


def test_bad_input_is_refused_over_http_too(running: serving.Server) -> None:
    refusals = [
        running.ask("/v2/models/other/infer", serving.infer_body()),
        running.ask("/v2/models/tiny/versions/other/infer", serving.infer_body()),
        running.ask(serving.INFER, b"{"),
        running.ask(serving.INFER, serving.infer_body(), headers={"x-coppice-lane": "canary"}),
        running.ask("/feedback", b'{"request_id": "nobody", "label": 1}'),
        running.ask(serving.INFER, b" " * 70_000),
        running.ask(serving.INFER, method="GET"),
    ]
    assert [reply.status for reply in refusals] == [404, 404, 400, 400, 404, 413, 405]
    assert all(list(reply.json) == ["error"] for reply in refusals)


def connect(running: serving.Server) -> contextlib.closing[http.client.HTTPConnection]:
    place = parse.urlsplit(running.url).netloc
    return contextlib.closing(http.client.HTTPConnection(place, timeout=300))


def test_a_body_of_unknown_length_is_read_no_further_than_the_limit(
    running: serving.Server,
) -> None:
    with connect(running) as connection:
        connection.putrequest("POST", serving.INFER)
        connection.putheader("transfer-encoding", "chunked")
        connection.endheaders()
        # One byte more than max_body_bytes, in chunks, and no end: waiting for it would hang.
        connection.send(b"8000\r\n" + b" " * 32_768 + b"\r\n")
        connection.send(b"8001\r\n" + b" " * 32_769 + b"\r\n")
        response = connection.getresponse()
        assert (response.status, response.headers["connection"]) == (413, "close")


def test_a_request_after_a_refused_one_is_answered_on_the_same_connection(
    running: serving.Server,
) -> None:
    with connect(running) as connection:
        connection.request("POST", serving.INFER, b"{")
        first = connection.getresponse()
        first.read()
        connection.request("POST", serving.INFER, serving.infer_body())
        assert (first.status, connection.getresponse().status) == (400, 200)


def test_feedback_is_accepted_once(made: serving.Project, running: serving.Server) -> None:
    running.ask(serving.INFER, serving.infer_body(id="labelled"))
    label = b'{"request_id": "labelled", "label": "yes", "source": "human"}'
    first, again = running.ask("/feedback", label), running.ask("/feedback", label)
    assert (first.status, again.status) == (200, 409)
    assert first.json == {"accepted": True, "request_id": "labelled"}
    assert [f.labels for f in stored(made, records.Feedback)] == [("yes",)]


@pytest.mark.parametrize("path", ["/", "/healthz", "/livez", "/readyz", "/docs.json", "/metrics"])
def test_bentomls_own_pages_stay(running: serving.Server, path: str) -> None:
    assert running.ask(path).status == 200


def test_one_page_shows_our_metrics_and_bentomls(running: serving.Server) -> None:
    running.ask(serving.INFER, serving.infer_body())
    running.ask(serving.INFER, b"{")
    running.ask("/predict", b'{"inputs": {"x": [[1, 1, 1, 1]]}}')
    page = running.ask("/metrics").body.decode()
    assert 'coppice_requests_total{code="200",door="infer"}' in page
    assert 'coppice_requests_total{code="400",door="infer"}' in page
    assert "coppice_request_seconds_bucket" in page
    assert "coppice_model_info" in page
    assert "bentoml_service_request_total" in page


def test_the_verdict_is_undecided_without_a_candidate(running: serving.Server) -> None:
    reply = running.ask("/v1/verdict?model=tiny")
    assert (reply.status, reply.json["verdict"]) == (200, "undecided")


def lanes_of(running: serving.Server, keys: range) -> list[str]:
    """The lane on which each key is answered."""
    return [
        running.ask(
            serving.INFER, serving.infer_body(), headers={"x-coppice-key": f"key-{key}"}
        ).headers["x-coppice-lane"]
        for key in keys
    ]


def test_a_key_on_the_canary_lane_stays_there_as_the_weight_grows(
    made: serving.Project, running: serving.Server
) -> None:
    take(made, running, candidate=made.candidate, weight=0.3)
    before = lanes_of(running, range(30))
    take(made, running, candidate=made.candidate, weight=0.7)
    after = lanes_of(running, range(30))
    moved = set(zip(before, after, strict=True))
    # With 30 keys each of the three ways has a chance of being absent below 1 in 3,000.
    assert moved == {("canary", "canary"), ("stable", "canary"), ("stable", "stable")}


def test_mirrored_copies_are_in_the_log(made: serving.Project, running: serving.Server) -> None:
    take(made, running, candidate=made.candidate, parent=made.parent, mirror=1, parent_mirror=1)
    running.ask(serving.INFER, serving.infer_body(id="mirrored"))
    running.wait_until(lambda: len(shadows(made, "mirrored")) == 2)
    assert shadows(made, "mirrored") == {"candidate": made.candidate, "parent": made.parent}


def shadows(made: serving.Project, request_id: str) -> dict[str, str]:
    return {
        shadow.role: shadow.version
        for shadow in stored(made, records.Shadow)
        if shadow.request_id == request_id
    }


def test_versions_are_swapped_under_load_without_a_failed_request(
    made: serving.Project, running: serving.Server
) -> None:
    with load.load(running.url) as clients:
        clients.wait_for(20)
        for _ in range(3):
            take(made, running, candidate=made.candidate, weight=0.5, mirror=1.0)
            clients.wait_for(20)
            take(made, running, champion=made.candidate, previous=made.champion)
            clients.wait_for(20)
            take(made, running, champion=made.champion)
            clients.wait_for(20)
    assert (clients.refused, clients.broken) == ({}, 0)
    assert set(clients.acknowledged) <= {p.request_id for p in stored(made, records.Prediction)}


def test_a_corrupt_candidate_never_takes_traffic(
    made: serving.Project, running: serving.Server
) -> None:
    corrupt = made.add(artifacts.linear_classifier, bias=[0.0, 7.0])
    path = made.path(corrupt) / artifact.MODEL
    path.write_bytes(path.read_bytes()[:-1])
    failures = serving.metric(running, "coppice_load_failures_total")
    take(made, running, candidate=corrupt, weight=1.0, mirror=1.0)
    reply = running.ask(serving.INFER, serving.infer_body(id="corrupt-1"))
    assert (reply.status, reply.headers["x-coppice-version"]) == (200, made.champion)
    assert prediction(made, "corrupt-1").fallback_version == corrupt
    assert serving.metric(running, "coppice_load_failures_total") > failures
    name = corrupt.partition(":")[2]
    assert running.ask(f"/v2/models/tiny/versions/{name}/ready").status == 503
    assert running.ask("/v2/models/tiny/ready").status == 200


def test_a_candidate_that_fails_is_answered_for_by_stable(
    made: serving.Project, running: serving.Server
) -> None:
    failing = made.add(artifacts.failing_classifier, above=1.5)
    take(made, running, candidate=failing, weight=1.0)
    reply = running.ask(serving.INFER, serving.infer_body([[2.0] * 4], id="fallback-1"))
    assert (reply.status, reply.headers["x-coppice-lane"]) == (200, "stable")
    assert prediction(made, "fallback-1").fallback_version == failing
    assert serving.metric(running, "coppice_fallbacks_total") >= 1.0


def test_the_port_of_a_running_server_is_said_to_be_taken(
    made: serving.Project, running: serving.Server
) -> None:
    assert running.process.poll() is None
    with pytest.raises(errors.EnvironmentProblem, match="is taken"):
        serve.command(made.tree)


def test_the_server_loads_neither_torch_nor_evidently() -> None:
    program = (
        "import sys, service.app, service.compose, service.front, coppice.registry.bento;"
        "print(sorted({'torch', 'evidently', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=house.ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout == "[]\n"


def test_the_running_workers_map_no_torch(running: serving.Server) -> None:
    maps = [Path(f"/proc/{process.pid}/maps").read_text() for process in running.family()]
    # The supervisor and one worker.
    assert len(maps) == 2
    assert not any("libtorch" in text for text in maps)
    assert any("onnxruntime" in text for text in maps)
