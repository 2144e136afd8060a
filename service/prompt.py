"""Futures that go on with their waiter at once, and coroutines that need no task.

asyncio wakes who awaits a future in the event loop's next turn. A request waits twice, for its
answer and for its commit; woken at once, a whole micro-batch goes from the model to the log and
from the log to the sockets within one turn, and what came meanwhile is the next batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Prompt(asyncio.Future[T]):
    """A future whose `waiter`, where it has one, is called within `set_result`.

    Awaited by a task it is a future like any other.
    """

    waiter: Callable[[], None] | None = None

    def set_result(self, result: T, /) -> None:
        """Settle it, and let its waiter go on."""
        super().set_result(result)
        if self.waiter is not None:
            self.waiter()

    def set_exception(self, exception: type | BaseException, /) -> None:
        """Settle it with an error, and let its waiter go on."""
        super().set_exception(exception)
        if self.waiter is not None:
            self.waiter()


class _Errand:
    """A coroutine under way."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine

    def go_on(self, _: object = None) -> None:
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            return
        # A mark that who awaits a future has to take off again, as tasks do.
        awaited._asyncio_future_blocking = False  # noqa: SLF001 - the only way to be told by it
        if isinstance(awaited, Prompt):
            awaited.waiter = self.go_on
        else:
            awaited.add_done_callback(self.go_on)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on the event loop, without a task: it begins now, and goes on at once.

    It may await futures only, raises nothing, and is in no task: what needs one (`asyncio.timeout`)
    makes its own.

    >>> async def say(found: list[int]) -> None:
    ...     found.append(await waiting)
    >>> loop, found = asyncio.new_event_loop(), []
    >>> waiting: Prompt[int] = Prompt(loop=loop)
    >>> run(say(found))
    >>> waiting.set_result(1)
    >>> found
    [1]
    >>> loop.close()
    """
    _Errand(coroutine).go_on()
