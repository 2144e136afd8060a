"""Futures that go on at once, with the event loop that they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from service import prompt


async def add(found: list[Any], waiting: asyncio.Future[int]) -> None:
    try:
        found.append(await waiting)
    except ValueError as cause:
        found.append(str(cause))


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(steps)


def test_an_errand_begins_now_and_goes_on_where_its_future_is_settled() -> None:
    async def steps() -> None:
        found: list[Any] = []
        waiting: prompt.Prompt[int] = prompt.Prompt()
        prompt.run(add(found, waiting))
        assert found == []
        waiting.set_result(3)
        # No turn of the event loop in between.
        assert found == [3]

    run(steps())


def test_an_error_is_raised_where_the_errand_waits() -> None:
    async def steps() -> None:
        found: list[Any] = []
        waiting: prompt.Prompt[int] = prompt.Prompt()
        prompt.run(add(found, waiting))
        waiting.set_exception(ValueError("broken"))
        assert found == ["broken"]

    run(steps())


def test_an_errand_goes_on_after_each_of_its_waits() -> None:
    async def steps() -> None:
        found: list[Any] = []
        waits: list[prompt.Prompt[int]] = [prompt.Prompt(), prompt.Prompt()]

        async def twice() -> None:
            found.append(await waits[0] + await waits[1])

        prompt.run(twice())
        waits[0].set_result(1)
        assert found == []
        waits[1].set_result(2)
        assert found == [3]

    run(steps())


def test_what_is_settled_already_is_not_waited_for() -> None:
    async def steps() -> None:
        found: list[Any] = []
        waiting: prompt.Prompt[int] = prompt.Prompt()
        waiting.set_result(5)
        prompt.run(add(found, waiting))
        assert found == [5]

    run(steps())


def test_an_errand_waits_for_plain_futures_and_tasks_too() -> None:
    async def steps() -> None:
        found: list[Any] = []
        plain: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        prompt.run(add(found, plain))
        plain.set_result(7)
        task = asyncio.create_task(asyncio.sleep(0, 8))
        prompt.run(add(found, task))
        await task
        await asyncio.sleep(0)
        assert found == [7, 8]

    run(steps())


def test_a_task_waits_for_a_prompt_future_as_for_any_other() -> None:
    async def steps() -> None:
        waiting: prompt.Prompt[int] = prompt.Prompt()
        asyncio.get_running_loop().call_soon(waiting.set_result, 4)
        assert await waiting == 4
        late: prompt.Prompt[int] = prompt.Prompt()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await late
        assert late.cancelled()

    run(steps())
