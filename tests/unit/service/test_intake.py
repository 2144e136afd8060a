"""How much of bodies is held at once, and how long they may take."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from coppice import errors, settings
from service import http, intake

LARGE = intake.SMALL + 1
ROOM = 2**20
"""The least that `serve.max_pending_bytes` takes."""


def made(**fields: Any) -> intake.Intake:
    serve = settings.ServeSettings(max_pending_bytes=ROOM, **fields)
    return intake.Intake(serve, asyncio.get_running_loop())


def sent(body: bytes) -> http.Receive:
    async def receive() -> http.Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def announced(size: int) -> dict[bytes, bytes]:
    return {b"content-length": str(size).encode()}


async def never() -> http.Message:
    await asyncio.Event().wait()
    raise AssertionError


async def hold(taking: intake.Intake, size: int, until: asyncio.Event) -> int:
    """Read a body and keep it, as a request that waits for its answer does."""
    try:
        body = await taking.read(sent(b"x" * size), announced(size))
        await until.wait()
        return len(body)
    finally:
        taking.done()


def run(steps: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30.0):
            await steps

    asyncio.run(bounded())


def test_large_bodies_beyond_what_may_be_held_are_refused_until_one_is_answered() -> None:
    async def steps() -> None:
        taking, answered = made(), asyncio.Event()
        first = asyncio.create_task(hold(taking, ROOM, answered))
        await asyncio.sleep(0)
        with pytest.raises(errors.Overloaded):
            await taking.read(sent(b"x" * LARGE), announced(LARGE))
        answered.set()
        assert await first == ROOM
        assert await hold(taking, LARGE, answered) == LARGE

    run(steps())


def test_a_body_of_unknown_length_is_counted_too() -> None:
    async def steps() -> None:
        taking = made()
        with pytest.raises(errors.Overloaded):
            await taking.read(sent(b"x" * (ROOM + 1)), {})

    run(steps())


def test_small_bodies_are_read_while_large_ones_hold_everything() -> None:
    async def steps() -> None:
        taking, answered = made(), asyncio.Event()
        first = asyncio.create_task(hold(taking, ROOM, answered))
        await asyncio.sleep(0)
        assert await taking.read(sent(b"ab"), announced(2)) == b"ab"
        answered.set()
        await first

    run(steps())


def test_what_a_refused_body_held_is_let_go_of() -> None:
    async def steps() -> None:
        taking, answered = made(max_body_bytes=LARGE), asyncio.Event()
        answered.set()
        for _ in range(3):
            with pytest.raises(errors.BodyTooLarge):
                await hold(taking, ROOM // 2, answered)  # three would be more than the room
        assert await hold(taking, LARGE, answered) == LARGE

    run(steps())


@pytest.mark.parametrize("headers", [announced(10), announced(LARGE), {}])
def test_a_body_that_does_not_come_in_time_is_given_up(headers: dict[bytes, bytes]) -> None:
    async def steps() -> None:
        taking = made(deadline_seconds=0.05)
        with pytest.raises(intake.BodyTooSlow, match="deadline_seconds"):
            await taking.read(never, headers)
        # The task was cancelled for that alone: it goes on with its next request.
        await asyncio.sleep(0)
        assert await taking.read(sent(b"ab"), announced(2)) == b"ab"

    run(steps())


def test_a_task_that_is_cancelled_by_another_is_cancelled() -> None:
    async def steps() -> None:
        taking = made()
        reading = asyncio.create_task(taking.read(never, announced(10)))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    run(steps())


def test_a_client_that_is_too_slow_is_told_and_its_connection_closed() -> None:
    response = http.as_error(intake.BodyTooSlow())
    assert response.status == 408
    assert (b"connection", b"close") in response.headers
