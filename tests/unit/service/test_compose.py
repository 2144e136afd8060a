"""The data plane, put together: what was counted is shown in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from prometheus_client import registry

from service import compose, front, recorder
from tests.support import serving

Steps = Callable[[compose.Plane, registry.CollectorRegistry], Coroutine[Any, Any, None]]


def run(folder: Path, steps: Steps) -> registry.CollectorRegistry:
    """Answer one request, go on with `steps`, close the plane, and return its metrics."""
    found = registry.CollectorRegistry()
    made = serving.project(folder)

    async def main() -> None:
        opened = compose.Plane(
            made.tree, loop=asyncio.get_running_loop(), metrics=recorder.Recorder(found)
        )
        await serving.until(lambda: opened.ready)
        await serving.ask(opened, serving.INFER, serving.infer_body())
        await steps(opened, found)
        opened.close()

    asyncio.run(main())
    return found


def answered(found: registry.CollectorRegistry) -> float | None:
    return found.get_sample_value("coppice_requests_total", {"door": "infer", "code": "200"})


async def unused() -> Any:
    raise AssertionError


async def send(message: Any) -> None:
    raise AssertionError(message)


def test_a_scrape_shows_the_answer_that_was_given_just_before(tmp_path: Path) -> None:
    shown: list[float | None] = []

    async def steps(opened: compose.Plane, found: registry.CollectorRegistry) -> None:
        async def page(*_: Any) -> None:
            shown.append(answered(found))

        door = front.Front(page, lambda: opened)
        await door({"type": "http", "method": "GET", "path": "/metrics"}, unused, send)

    run(tmp_path, steps)
    assert shown == [1.0]


def test_no_count_is_lost_when_the_plane_closes(tmp_path: Path) -> None:
    async def steps(*_: Any) -> None:
        """Close at once."""

    found = run(tmp_path, steps)
    assert answered(found) == 1.0
    # The lane is stable: there is no candidate.
    totals = [
        sample.value
        for metric in found.collect()
        for sample in metric.samples
        if sample.name == "coppice_request_seconds_count"
    ]
    assert totals == [1.0]
