"""A server in a pod: its routing table is an annotation that the kubelet writes into a volume."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coppice import routing
from tests.support import downward, load, serving


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    section = {"port": serving.free_port(), "routing_file": "routing/routing.json"}
    made = serving.project(tmp_path, serve=section)
    shutil.rmtree(made.tree.routing_path.parent)
    return made


def table(made: serving.Project, generation: int, champion: str) -> routing.RoutingTable:
    return routing.RoutingTable(model=serving.MODEL, generation=generation, champion=champion)


def answering(running: serving.Server) -> str:
    reply = running.ask(serving.INFER, serving.infer_body())
    return f"{serving.MODEL}:{reply.json['model_version']}"


def test_a_swapped_annotation_changes_the_version_without_a_dropped_request(
    made: serving.Project,
) -> None:
    volume = downward.Volume(made.tree.routing_path.parent)
    volume.route(table(made, 1, made.champion))
    with serving.server(made) as running, load.load(running.url, clients=2) as clients:
        clients.wait_for(20)
        volume.route(table(made, 2, made.candidate))
        running.wait_until(lambda: answering(running) == made.candidate)
        clients.wait_for(20)
        # What is no table leaves the last one in force, and is counted.
        volume.write('{"model": "tiny"')
        failures = "coppice_load_failures_total"
        running.wait_until(lambda: serving.metric(running, failures) == 1.0)
        clients.wait_for(20)
        assert answering(running) == made.candidate
        assert serving.is_ready(running)
        volume.route(table(made, 3, made.champion))
        running.wait_until(lambda: answering(running) == made.champion)
    assert (clients.refused, clients.broken) == ({}, 0)
