"""The controller as `coppice rollout run` starts it: real stores, a real process, real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from coppice import records, registry, routing, settings
from coppice.eventlog import open_log
from tests.support import artifacts, pages, programs, rollouts
from tests.support.rollouts import MODEL

TOML = """
[project]
name = "tiny"
[rollout]
poll_seconds = 0.05
watch_seconds = 0.0
metrics_port = {port}
port = {doors}
"""


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    (tmp_path / settings.FILE).write_text(
        TOML.format(port=pages.free_port(), doors=pages.free_port())
    )
    return settings.load(tmp_path)


@pytest.fixture
def controller(tree: settings.Settings) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-P", "-m", "coppice_cli", "rollout", "run", "-C", str(tree.root)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def tell(tree: settings.Settings, record: records.Record) -> None:
    log = open_log(tree)
    log.append([records.seal(record, source="test", now=time.time())])
    log.close()


def routed(tree: settings.Settings, generation: int) -> bool:
    table = routing.load(tree.routing_path)
    return table is not None and table.generation == generation


def test_a_first_version_and_its_successor_are_rolled_out(
    tree: settings.Settings, tmp_path: Path, controller: subprocess.Popen[bytes]
) -> None:
    store = registry.open_registry(tree)
    artifacts.linear_classifier(tmp_path / "1", name=MODEL, accepted=0.9)
    artifacts.linear_classifier(tmp_path / "2", name=MODEL, accepted=0.8)
    first, second = (store.add(tmp_path / name) for name in ("1", "2"))
    tell(tree, rollouts.candidate(first))
    programs.until(lambda: routed(tree, 1))
    tell(tree, rollouts.candidate(second))
    programs.until(lambda: routed(tree, 2))
    tell(tree, rollouts.command("promote"))
    # Promoted is generation 3; settled, with the previous version unloaded, is 4.
    programs.until(lambda: routed(tree, 4))
    table = routing.load(tree.routing_path)
    assert table is not None
    assert (table.champion, table.candidate) == (second, None)
    programs.until(lambda: store.aliases(MODEL).get("champion") == second)
    page = httpx.get(f"http://127.0.0.1:{tree.rollout.metrics_port}/metrics", trust_env=False)
    assert 'coppice_rollout_decisions_total{model="tiny",outcome="started"} 1.0' in page.text
    with httpx.Client(base_url=f"http://127.0.0.1:{tree.rollout.port}", trust_env=False) as doors:
        assert doors.get("/readyz").status_code == 200
        programs.until(lambda: doors.get("/v1/verdict").json()["version"] == second)
        # Argo asks for every revision, also for one with which nothing is on trial.
        assert doors.get("/v1/verdict").json()["data"]["verdict"] == "promote"
        refused = doors.post("/v1/rollouts/tiny/abort", json={"actor": "ada"})
        assert (refused.status_code, "no rollout is running" in refused.text) == (409, True)
    controller.send_signal(signal.SIGTERM)
    assert controller.wait() == 0
