from __future__ import annotations

import asyncio
import threading

import pytest

from deploy.backends.kube import portal


async def place() -> tuple[str, asyncio.AbstractEventLoop]:
    return threading.current_thread().name, asyncio.get_running_loop()


async def refuse() -> None:
    raise LookupError("no such object")


def test_calls_share_one_loop_in_a_thread_of_their_own() -> None:
    door = portal.Portal()
    thread, loop = door.call(place())
    assert thread == "cluster-calls"
    assert door.call(place()) == (thread, loop)
    door.close()


def test_what_a_call_raises_reaches_its_caller_and_the_next_one_is_answered() -> None:
    door = portal.Portal()
    with pytest.raises(LookupError, match="no such object"):
        door.call(refuse())
    assert door.call(place())[0] == "cluster-calls"
    door.close()


def test_closing_ends_the_loop() -> None:
    door = portal.Portal()
    _, loop = door.call(place())
    door.close()
    assert loop.is_closed()
