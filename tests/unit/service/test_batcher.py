"""Micro-batches: what runs together, what is refused, and who is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from prometheus_client import registry

from coppice import errors, runtime
from service import batcher, recorder
from tests.support import serving

LIMITS = batcher.Limits(rows=8, queue=4)


class Doubler:
    """A model that doubles, fails on negative numbers, and waits while its gate is shut."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, inputs: batcher.Inputs) -> runtime.Answers:
        self.entered.set()
        self.gate.wait(30.0)
        values = np.asarray(inputs["x"], dtype=np.float32)
        self.sizes.append(len(values))
        if values.min() < 0:
            message = "negative numbers break this model"
            raise errors.ArtifactError(message)
        return runtime.Answers(values * 2, values[:, np.newaxis])


def rows(*values: float) -> batcher.Inputs:
    return {"x": np.array(values, dtype=np.float32)}


def run(
    steps: Callable[[batcher.Batcher, Any], Coroutine[Any, Any, None]],
    limits: batcher.Limits = LIMITS,
    model: Doubler | None = None,
) -> Doubler:
    """Run steps against a batcher, then close it."""
    model = model or Doubler()

    async def main() -> None:
        made = batcher.Batcher(
            model,
            limits=limits,
            loop=asyncio.get_running_loop(),
            metrics=recorder.Recorder(registry.CollectorRegistry()),
        )
        try:
            async with asyncio.timeout(30.0):
                await steps(made, model)
        finally:
            model.gate.set()
            made.close()
            made.join(10.0)

    asyncio.run(main())
    return model


def test_a_request_is_answered_with_its_scores_and_features() -> None:
    async def steps(made: batcher.Batcher, _: Doubler) -> None:
        answers = await made.submit(rows(1.0, 2.0), 2)
        assert answers.scores.tolist() == [2.0, 4.0]
        assert answers.features.tolist() == [[1.0], [2.0]]

    run(steps)


def test_requests_of_one_turn_run_together_and_get_their_own_rows() -> None:
    async def steps(made: batcher.Batcher, _: Doubler) -> None:
        waiting = [made.submit(rows(n, n + 1), 2) for n in (1.0, 3.0, 5.0)]
        found = [answers.scores.tolist() for answers in await asyncio.gather(*waiting)]
        assert found == [[2.0, 4.0], [6.0, 8.0], [10.0, 12.0]]

    assert run(steps).sizes == [6]


def test_a_batch_never_has_more_rows_than_the_limit() -> None:
    async def steps(made: batcher.Batcher, _: Doubler) -> None:
        await asyncio.gather(*[made.submit(rows(*[1.0] * 3), 3) for _ in range(4)])

    # 3 + 3 rows fit into 8, a third request would make 9.
    assert run(steps).sizes == [6, 6]


def test_a_request_larger_than_the_limit_runs_alone() -> None:
    async def steps(made: batcher.Batcher, _: Doubler) -> None:
        waiting = [made.submit(rows(1.0), 1), made.submit(rows(*[1.0] * 9), 9)]
        await asyncio.gather(*waiting)

    assert run(steps).sizes == [1, 9]


def test_a_full_queue_refuses_at_once() -> None:
    async def steps(made: batcher.Batcher, model: Doubler) -> None:
        model.gate.clear()
        waiting = [made.submit(rows(1.0), 1) for _ in range(LIMITS.queue)]
        with pytest.raises(errors.Overloaded):
            made.submit(rows(1.0), 1)
        model.gate.set()
        await asyncio.gather(*waiting)
        assert (await made.submit(rows(3.0), 1)).scores.tolist() == [6.0]

    run(steps)


def test_a_request_that_fails_does_not_fail_those_that_waited_beside_it() -> None:
    async def steps(made: batcher.Batcher, _: Doubler) -> None:
        waiting = [made.submit(rows(value), 1) for value in (1.0, -1.0, 2.0)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[1], errors.ArtifactError)
        assert [answers.scores.tolist() for answers in (found[0], found[2])] == [[2.0], [4.0]]

    # All together first, then one by one.
    assert run(steps).sizes == [3, 1, 1, 1]


def test_a_request_that_nobody_waits_for_is_not_run() -> None:
    async def steps(made: batcher.Batcher, model: Doubler) -> None:
        model.gate.clear()
        running = made.submit(rows(1.0), 1)
        await serving.until(model.entered.is_set)
        abandoned, wanted = made.submit(rows(9.0), 1), made.submit(rows(2.0), 1)
        abandoned.cancel()
        model.gate.set()
        await asyncio.gather(running, wanted)

    assert run(steps).sizes == [1, 1]


def test_what_waits_at_the_end_is_still_answered() -> None:
    async def steps(made: batcher.Batcher, _: Doubler) -> None:
        waiting = [made.submit(rows(value), 1) for value in (1.0, 2.0)]
        made.close()
        assert [answers.scores.tolist() for answers in await asyncio.gather(*waiting)] == [
            [2.0],
            [4.0],
        ]

    run(steps)


def test_a_closed_version_takes_nothing_more() -> None:
    async def steps(made: batcher.Batcher, _: Doubler) -> None:
        made.close()
        with pytest.raises(errors.NotReady, match="replaced"):
            made.submit(rows(1.0), 1)

    run(steps)


def test_a_future_that_takes_too_long_ends_with_a_timeout() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadlines = batcher.Deadlines(loop, 0.05)
        slow, done = loop.create_future(), loop.create_future()
        deadlines.watch(done)
        deadlines.watch(slow)
        done.set_result(1)
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            await slow
        assert await done == 1

    asyncio.run(main())


def test_futures_done_in_time_are_left_alone() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadlines = batcher.Deadlines(loop, 0.02)
        found = [loop.create_future() for _ in range(3)]
        for place, future in enumerate(found):
            deadlines.watch(future)
            future.set_result(place)
        await asyncio.sleep(0.1)
        assert [await future for future in found] == [0, 1, 2]

    asyncio.run(main())


class Burner(Doubler):
    """A model that burns so many loops of processor time, and notes on which thread it ran."""

    def __init__(self, loops: int = 0) -> None:
        super().__init__()
        self.loops = loops
        self.threads: list[int] = []

    def __call__(self, inputs: batcher.Inputs) -> runtime.Answers:
        self.threads.append(threading.get_ident())
        sum(range(self.loops))
        return super().__call__(inputs)


async def ask_often(made: batcher.Batcher, values: batcher.Inputs, count: int = 60) -> None:
    for _ in range(count):
        await made.submit(values, len(values["x"]))


def test_a_quick_model_runs_on_the_event_loop_once_it_is_known_to_be_quick() -> None:
    async def steps(made: batcher.Batcher, model: Burner) -> None:
        await ask_often(made, rows(1.0))
        here = threading.get_ident()
        # 5 ms * 0.9 ** n falls below 0.5 ms at n = 22; runs that are slow by chance come on top.
        assert model.threads[0] != here
        assert model.threads[-1] == here

    run(steps, model=Burner())


def test_a_slow_model_stays_on_its_thread() -> None:
    async def steps(made: batcher.Batcher, model: Burner) -> None:
        await ask_often(made, rows(1.0), count=40)
        assert threading.get_ident() not in model.threads

    run(steps, model=Burner(loops=200_000))  # some milliseconds


def test_a_model_that_becomes_slow_goes_back_to_its_thread() -> None:
    async def steps(made: batcher.Batcher, model: Burner) -> None:
        await ask_often(made, rows(1.0))
        model.loops = 1_000_000  # a tenth of its 10 ms and more is above 0.5 ms
        await ask_often(made, rows(1.0), count=2)
        assert model.threads[-1] != threading.get_ident()

    run(steps, model=Burner())


def test_more_rows_than_the_limit_go_to_the_thread_however_quick_the_model_is() -> None:
    async def steps(made: batcher.Batcher, model: Burner) -> None:
        await ask_often(made, rows(1.0))
        answers = await made.submit(rows(*range(9)), 9)
        assert answers.scores.tolist() == [2.0 * value for value in range(9)]
        assert model.threads[-1] != threading.get_ident()

    run(steps, model=Burner())


def test_on_the_event_loop_too_a_failure_is_told_to_its_own_request_only() -> None:
    async def steps(made: batcher.Batcher, model: Burner) -> None:
        await ask_often(made, rows(1.0))
        good, bad = made.submit(rows(1.0), 1), made.submit(rows(-1.0), 1)
        with pytest.raises(errors.ArtifactError, match="negative numbers"):
            await bad
        assert (await good).scores.tolist() == [2.0]
        assert set(model.threads[-3:]) == {threading.get_ident()}

    run(steps, model=Burner())
