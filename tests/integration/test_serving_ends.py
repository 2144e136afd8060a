"""How a server ends: drained, killed, orphaned, beside others; nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from coppice import records
from tests.support import load, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(tmp_path, serve={"port": serving.free_port()})


def stored(made: serving.Project) -> set[str]:
    log = made.log
    try:
        return {record.request_id for record in serving.stored(log, records.Prediction)}
    finally:
        log.close()


def test_a_killed_server_has_stored_all_that_it_acknowledged(made: serving.Project) -> None:
    with serving.server(made) as running, load.load(running.url) as clients:
        clients.wait_for(50)
        running.kill()
    assert set(clients.acknowledged) <= stored(made)


def test_a_server_told_to_end_answers_what_it_took(made: serving.Project) -> None:
    with serving.server(made) as running, load.load(running.url) as clients:
        clients.wait_for(50)
        code = running.stop()
        # The clients only see that nobody listens any more.
        assert clients.refused == {}
    assert code == 0
    assert set(clients.acknowledged) <= stored(made)
    assert '"event": "drained"' in running.output.read_text()


def test_a_worker_whose_supervisor_is_killed_ends_and_frees_the_port(
    made: serving.Project,
) -> None:
    with serving.server(made) as running:
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        running.wait_until(lambda: not serving.is_ready(running))
    with serving.server(made) as again:
        assert again.ask("/v2/health/ready").status == 200


def test_two_workers_share_a_log_and_accept_a_label_once(tmp_path: Path) -> None:
    made = serving.project(tmp_path, serve={"port": serving.free_port(), "workers": 2})
    with serving.server(made) as running:
        names = [f"r{number}" for number in range(20)]
        statuses = asyncio.run(ask_all(running, names))
        assert statuses == [200] * 20
        twice = asyncio.run(label_all(running, names * 2))
        # Each label once, and each a second time in vain.
        assert sorted(twice) == [200] * 20 + [409] * 20
    assert stored(made) == set(names)


async def ask_all(running: serving.Server, names: list[str]) -> list[int]:
    bodies = [serving.infer_body(id=name) for name in names]
    asked = [asyncio.to_thread(running.ask, serving.INFER, body) for body in bodies]
    return [reply.status for reply in await asyncio.gather(*asked)]


async def label_all(running: serving.Server, names: list[str]) -> list[int]:
    bodies = [json.dumps({"request_id": name, "label": "yes"}).encode() for name in names]
    asked = [asyncio.to_thread(running.ask, "/feedback", body) for body in bodies]
    return [reply.status for reply in await asyncio.gather(*asked)]
