"""What several workers make of one metric, and what a dead one leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import multiprocess
from prometheus_client import registry as collectors

from service import workers
from tests.support import house

PROGRAM = """
import sys
from pathlib import Path
from service import recorder, workers
folder, waiting, generation, shut = sys.argv[1:]
here = workers.Presence(Path(folder))
made = recorder.Recorder()
made.request("infer", 200)
made.answered("stable", "m:1", 0.5)
made.committed(0.001, int(waiting))
made.generation(int(generation))
made.model("m:" + generation, "champion", present=True)
made.canary_shut(shut=bool(int(shut)))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@contextlib.contextmanager
def worker(folder: Path, *values: str) -> Iterator[subprocess.Popen[str]]:
    """A process that records its values and then waits for its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), *values],
        cwd=house.ROOT,
        env={**os.environ, workers.FOLDER: str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def scraped(folder: Path, name: str, **labels: str) -> float | None:
    """A value as a scrape of any worker shows it."""
    found = collectors.CollectorRegistry()
    multiprocess.MultiProcessCollector(found, str(folder))  # type: ignore[no-untyped-call]
    return found.get_sample_value(name, labels)


def test_the_values_of_two_workers_become_one(folder: Path) -> None:
    with worker(folder, "3", "7", "0"), worker(folder, "4", "8", "1"):
        assert scraped(folder, "coppice_requests_total", door="infer", code="200") == 2.0
        seconds = {"lane": "stable", "version": "m:1"}
        assert scraped(folder, "coppice_request_seconds_sum", **seconds) == 1.0  # 2 x 0.5 s
        assert scraped(folder, "coppice_outbox_backlog") == 7.0  # 3 + 4
        assert scraped(folder, "coppice_routing_generation") == 7.0  # the older one
        assert scraped(folder, "coppice_canary_shut") == 1.0  # one is enough
        parts = [
            scraped(folder, "coppice_model_info", version=tag, part="champion")
            for tag in ("m:7", "m:8")
        ]
        assert parts == [1.0, 1.0]


def test_a_killed_worker_counts_no_longer_but_what_it_counted_stays(folder: Path) -> None:
    with worker(folder, "4", "8", "0"):
        with worker(folder, "3", "7", "1") as killed:
            assert workers.sweep(folder) == []
        assert workers.sweep(folder) == [killed.pid]
        assert workers.sweep(folder) == []
        assert scraped(folder, "coppice_outbox_backlog") == 4.0
        assert scraped(folder, "coppice_routing_generation") == 8.0
        assert scraped(folder, "coppice_canary_shut") == 0.0
        assert scraped(folder, "coppice_model_info", version="m:7", part="champion") is None
        assert scraped(folder, "coppice_requests_total", door="infer", code="200") == 2.0


def test_a_process_that_got_the_id_of_a_dead_worker_is_not_taken_for_it(folder: Path) -> None:
    # A sign that bears the id of this very process, but that nobody holds.
    sign = folder / f"worker-{os.getpid()}.lock"
    sign.touch()
    assert workers.sweep(folder) == [os.getpid()]
    assert not sign.exists()


@pytest.mark.parametrize(
    ("scope", "left"),
    [
        ({"type": "http", "path": "/metrics"}, []),
        ({"type": "http", "path": "/docs.json"}, ["worker-1.lock"]),
        ({"type": "lifespan"}, ["worker-1.lock"]),
    ],
)
def test_a_scrape_sweeps_first_and_nothing_else_does(
    folder: Path, scope: dict[str, Any], left: list[str]
) -> None:
    (folder / "worker-1.lock").touch()
    found: list[list[str]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send
        found.append([path.name for path in folder.iterdir()])  # noqa: ASYNC240 - nobody waits

    async def unused(*_: Any) -> Any:
        raise AssertionError

    asyncio.run(workers.Swept(inner, folder)(scope, unused, unused))
    assert found == [left]
