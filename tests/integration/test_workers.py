"""Two workers behind one port: they decide alike, share a log, and stand in for each other."""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from coppice import records
from service import recorder
from tests.support import artifacts, load, serving

pytestmark = pytest.mark.slow

WORKERS = 2
GUARD = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    fields = {"port": serving.free_port(), "workers": WORKERS, "crash_guard": GUARD}
    return serving.project(tmp_path_factory.mktemp("workers"), serve=fields)


@pytest.fixture(scope="module")
def running(made: serving.Project) -> Iterator[serving.Server]:
    with serving.server(made) as started:
        started.wait_until(lambda: len(answering(made, started)) == WORKERS)
        yield started


def alive(running: serving.Server) -> list[psutil.Process]:
    """The workers, without the process that watches over them, and without those it must bury."""
    return [p for p in running.family()[1:] if p.status() != psutil.STATUS_ZOMBIE]


def take(made: serving.Project, running: serving.Server, **fields: Any) -> None:
    """Write a routing table and wait until every worker routes by it."""
    generation = made.route(**fields).generation
    running.wait_until(lambda: serving.metric(running, "coppice_routing_generation") == generation)


async def ask_all(
    running: serving.Server, path: str, bodies: list[bytes], **headers: str
) -> list[serving.Reply]:
    """Ask on as many connections at once, so that both workers get some."""
    asked = [asyncio.to_thread(running.ask, path, body, headers=headers) for body in bodies]
    return await asyncio.gather(*asked)


def predictions(made: serving.Project, names: set[str]) -> list[records.Prediction]:
    log = made.log
    try:
        found = serving.stored(log, records.Prediction)
    finally:
        log.close()
    return [record for record in found if record.request_id in names]


def answering(made: serving.Project, running: serving.Server) -> set[str]:
    """Who has written predictions once more were asked: each worker has a name of its own."""
    asyncio.run(ask_all(running, serving.INFER, [serving.infer_body()] * 20))
    log = made.log
    try:
        kind = records.NAMES[records.Prediction]
        return {event.source for event in log.newest(200) if event.type == kind}
    finally:
        log.close()


def test_a_key_is_on_the_same_lane_in_each_worker(
    made: serving.Project, running: serving.Server
) -> None:
    take(made, running, candidate=made.candidate, weight=0.5)
    bodies = [
        serving.infer_body(id=f"lane-{key}-{turn}", parameters={"routing_key": f"key-{key}"})
        for turn in range(10)
        for key in range(20)
    ]
    replies = asyncio.run(ask_all(running, serving.INFER, bodies))
    lanes = [reply.headers["x-coppice-lane"] for reply in replies]
    # 20 keys, in the same order in each of the 10 turns.
    assert [lanes[start : start + 20] for start in range(0, 200, 20)] == [lanes[:20]] * 10
    # Of 20 keys that toss a fair coin, all fall on one side once in half a million runs.
    assert set(lanes) == {"stable", "canary"}
    assert len(answering(made, running)) == WORKERS


def test_requests_without_an_id_get_one_that_no_other_has(
    made: serving.Project, running: serving.Server
) -> None:
    take(made, running)
    replies = asyncio.run(ask_all(running, serving.INFER, [serving.infer_body()] * 200))
    names = {reply.headers["x-request-id"] for reply in replies}
    assert len(names) == 200
    assert len(predictions(made, names)) == 200


def test_what_either_worker_counts_is_in_one_sum(
    made: serving.Project, running: serving.Server
) -> None:
    take(made, running)
    asked = functools.partial(
        serving.metric, running, "coppice_requests_total", door="infer", code="200"
    )
    # What the tests before this one asked may lie in a worker's memory as yet.
    time.sleep(5 * recorder.FLUSH_SECONDS)
    before, timed = asked(), serving.metric(running, "coppice_request_seconds_count")
    asyncio.run(ask_all(running, serving.INFER, [serving.infer_body()] * 60))
    running.wait_until(lambda: asked() - before >= 60)
    assert asked() - before == 60
    assert serving.metric(running, "coppice_request_seconds_count") - timed == 60
    running.wait_until(lambda: serving.metric(running, "coppice_outbox_backlog") == 0)


def test_a_label_is_accepted_once_whichever_worker_takes_it(
    made: serving.Project, running: serving.Server
) -> None:
    names = [f"label-{number}" for number in range(20)]
    asked = [serving.infer_body(id=name) for name in names]
    answers = asyncio.run(ask_all(running, serving.INFER, asked))
    assert [reply.status for reply in answers] == [200] * 20
    labels = [json.dumps({"request_id": name, "label": "yes"}).encode() for name in names]
    twice = asyncio.run(ask_all(running, "/feedback", labels * 2))
    # Each label once, and each a second time in vain.
    assert sorted(reply.status for reply in twice) == [200] * 20 + [409] * 20
    log = made.log
    kept = [record.request_id for record in serving.stored(log, records.Feedback)]
    log.close()
    assert sorted(kept) == sorted(names)


def test_a_swap_reaches_every_worker_without_a_failed_request(
    made: serving.Project, running: serving.Server
) -> None:
    take(made, running)
    with load.load(running.url) as clients:
        clients.wait_for(50)
        take(made, running, champion=made.candidate)
        clients.wait_for(50)
    assert (clients.refused, clients.broken) == ({}, 0)
    replies = asyncio.run(ask_all(running, serving.INFER, [serving.infer_body()] * 40))
    assert {reply.headers["x-coppice-version"] for reply in replies} == {made.candidate}


def test_each_worker_shuts_the_canary_lane_after_as_many_failures(
    made: serving.Project, running: serving.Server
) -> None:
    broken = made.add(artifacts.failing_classifier, above=1.5)
    take(made, running, candidate=broken, weight=1.0)
    large = serving.infer_body([[2.0] * 4])
    replies = [running.ask(serving.INFER, large) for _ in range(60)]
    assert {reply.status for reply in replies} == {200}
    fallbacks = serving.metric(running, "coppice_fallbacks_total", version=broken)
    # One request at a time: a worker fails so often and no more, and one at least took requests.
    assert GUARD <= fallbacks <= WORKERS * GUARD
    assert serving.metric(running, "coppice_canary_shut") == 1


def gauges_left(made: serving.Project, running: serving.Server, pid: int) -> list[str]:
    """The gauges of a process that are left after a scrape."""
    running.ask("/metrics")
    return [path.name for path in made.tree.root.rglob(f"gauge_*_{pid}.db")]


def test_a_killed_worker_is_replaced_and_nothing_acknowledged_is_lost(
    made: serving.Project, running: serving.Server
) -> None:
    take(made, running)
    with load.load(running.url, clients=8) as clients:
        clients.wait_for(100)
        killed = alive(running)[0]
        counted = serving.metric(running, "coppice_requests_total", door="infer", code="200")
        killed.send_signal(signal.SIGKILL)
        clients.wait_for(100)
        # The survivor answers all; the dead one's gauges are gone, its counts are not.
        running.wait_until(lambda: not gauges_left(made, running, killed.pid))
        after = serving.metric(running, "coppice_requests_total", door="infer", code="200")
        assert after >= counted + 100
        assert running.ask("/v2/health/ready").status == 200
        running.wait_until(lambda: len(alive(running)) == WORKERS)
        clients.wait_for(100)
    # Only connections of the dead worker broke, at most all eight; nobody was refused.
    assert clients.refused == {}
    assert clients.broken <= 8
    promised = set(clients.acknowledged)
    kept = [record.request_id for record in predictions(made, promised)]
    assert sorted(kept) == sorted(promised)
