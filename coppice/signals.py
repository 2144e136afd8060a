"""Ending a process in peace: SIGTERM and SIGINT become a question that its loop asks."""

from __future__ import annotations

import signal
from collections.abc import Callable


def stop_requested() -> Callable[[], bool]:
    """Catch SIGTERM and SIGINT from now on, and return a function that says whether one came.

    Raises
    ------
    ValueError
        Not called from the main thread, the only one that may set handlers.
    """
    # A list, not an event: the handler may interrupt whoever holds an event's lock.
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: received.append(number))
    return lambda: bool(received)
