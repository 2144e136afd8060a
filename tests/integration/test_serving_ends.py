"""How a server ends: drained, killed, orphaned, beside others; nothing acknowledged is lost."""

from __future__ import annotations

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
