"""Changes of one object, watched beside the controller, so that it need not look all the time.

The watch lives in the portal's loop and sets a flag that the controller's thread waits for. It
tells nothing but that something changed: what is true is read from the world, as ever. So whatever
ends a watch costs time alone: the controller goes on by looking, as it would without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import structlog

from deploy.backends.kube.client import Object
from deploy.backends.kube.portal import Portal

States: TypeAlias = Callable[[], AsyncIterator[Object | None]]
"""Begins to yield an object now and whenever it changes; see `client.Client.watch`."""

AGAIN_SECONDS = 60.0
"""After a watch that failed, such as one that our Role does not allow yet, another is tried."""

_log = structlog.get_logger(__name__)


class Changes:
    """Wait for an object to change; used by one thread.

    Parameters
    ----------
    portal
        Runs the watch.
    states
        Begins a watch.
    again_seconds
        After how long a watch that failed is tried again.
    """

    def __init__(
        self, portal: Portal, states: States, again_seconds: float = AGAIN_SECONDS
    ) -> None:
        self._portal = portal
        self._states = states
        self._again_seconds = again_seconds
        self._changed = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def wait(self, seconds: float) -> None:
        """Wait until the object changed since the last wait, at most for so many seconds.

        The watch begins with the first wait.
        """
        if self._task is None:
            self._task = self._portal.call(self._begin())
        if self._changed.wait(seconds):
            self._changed.clear()

    def close(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._portal.call(_end(self._task))
            self._task = None

    async def _begin(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        said = ""
        while True:
            try:
                await self._follow()
            except Exception as cause:  # noqa: BLE001 - whatever ends a watch, the controller looks
                if str(cause) != said:
                    said = str(cause)
                    _log.warning("watch_failed", reason=said, then="looking goes on without it")
            await asyncio.sleep(self._again_seconds)

    async def _follow(self) -> None:
        # A watch that begins anew shows an object again that has not changed.
        known: str | None = None
        async for state in self._states():
            version = "" if state is None else str(state["metadata"]["resourceVersion"])
            if version != known:
                known = version
                self._changed.set()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
