"""The reference clients, and a fuzzer, against the real server on both ports."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib import parse

import pytest

from coppice import errors
from service import serve
from tests.support import fuzz, house, serving, typed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    fields = {
        "port": serving.free_port(),
        "grpc_port": serving.free_port(),
        "workers": 2,
        "max_body_bytes": 2**20,
    }
    found = serving.project(tmp_path_factory.mktemp("clients"), serve=fields)
    pack = functools.partial(typed.summing_classifier, kinds=tuple(typed.KINDS))
    found.route(champion=found.add(pack))
    return found


@pytest.fixture(scope="module")
def running(made: serving.Project) -> Iterator[serving.Server]:
    with serving.server(made) as started:
        yield started


@pytest.fixture(scope="module")
def answers(made: serving.Project, running: serving.Server) -> dict[str, Any]:
    """What the clients got, in a process of their own."""
    places = [parse.urlsplit(running.url).netloc, f"127.0.0.1:{made.tree.serve.grpc_port}"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.triton", *places],
        cwd=house.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_the_clients_find_a_server_that_is_ready_and_takes_each_datatype(
    answers: dict[str, Any], door: str
) -> None:
    found = answers[door]
    assert (found["live"], found["ready"], found["model"]) == (True, True, True)
    assert found["server"] == "coppice"
    assert found["metadata"] == list(typed.KINDS)
    assert "this server serves 'tiny'" in found["refusal"]


@pytest.mark.parametrize(
    "way",
    ["defaults", "named", "json", "async", "gzip", "gzip as JSON", "deflate", "deflate as JSON"],
)
def test_the_http_client_is_answered_in_each_of_its_ways(answers: dict[str, Any], way: str) -> None:
    # The first row is worth 15 (2 texts count), the second -2.
    assert answers["http"][way] == [1, 0]


@pytest.mark.parametrize("way", ["defaults", "outputs", "gzip"])
def test_the_grpc_client_is_answered_in_each_of_its_ways(answers: dict[str, Any], way: str) -> None:
    assert answers["grpc"][way] == [1, 0]


def test_extensions_that_are_not_spoken_are_refused_with_what_to_use(
    answers: dict[str, Any],
) -> None:
    assert "/metrics" in answers["http"]["statistics"]
    assert "coppice rollout" in answers["http"]["index"]


def test_a_grpc_port_that_is_taken_is_said_before_anything_is_started(
    made: serving.Project, running: serving.Server
) -> None:
    assert running.process.poll() is None
    tree = made.tree
    moved = tree.model_copy(
        update={"serve": tree.serve.model_copy(update={"port": serving.free_port()})}
    )
    with pytest.raises(errors.EnvironmentProblem, match="COPPICE_SERVE__GRPC_PORT"):
        serve.command(moved)


def test_what_the_published_document_allows_never_breaks_the_server(
    running: serving.Server, tmp_path: Path
) -> None:
    report = fuzz.from_document(running.url, tmp_path, seconds=12, examples=5)
    assert report.returncode == 0, report.stdout + report.stderr
    assert serving.is_ready(running)


def test_bodies_that_lie_are_refused_and_the_server_goes_on(running: serving.Server) -> None:
    statuses = {
        running.ask(serving.INFER, body, headers=headers).status
        for body, headers in fuzz.bodies(150, seed=7)
    }
    assert statuses <= {200, 400, 415}
    assert 400 in statuses
    assert serving.is_ready(running)
