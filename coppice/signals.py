"""Ending a process: in peace, where SIGTERM or SIGINT asks for it, or at once."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn


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


def end_at_once(exit_code: int) -> NoReturn:
    """End this process without closing anything but its output.

    For a client that is stuck: closing it, or waiting for its threads, may take for ever.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
