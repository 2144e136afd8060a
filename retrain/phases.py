"""The phases of a flow: told to whoever listens, and timed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

from coppice import clock

Progress: TypeAlias = Callable[[str, float], None]
"""Told the phase and the share of it that is done; may raise to stop the flow."""


def silent(phase: str, share: float) -> None:
    """Ignore progress."""
    del phase, share


class Phases:
    """Tell progress and keep the time of each phase.

    Attributes
    ----------
    seconds
        Time of each phase that has ended, by name.
    """

    def __init__(self, progress: Progress, timer: clock.Clock) -> None:
        self._progress = progress
        self._timer = timer
        self.seconds: dict[str, float] = {}

    def part(self, name: str, share: float) -> None:
        """Tell of a part of the phase that is going on; its time is the phase's."""
        self._progress(name, share)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Callable[[float], None]]:
        """Time a block; yields a function that is told the share that is done."""
        start = self._timer.monotonic()
        self._progress(name, 0.0)
        yield lambda share: self._progress(name, share)
        self._progress(name, 1.0)
        self.seconds[name] = self._timer.monotonic() - start


def part(told: Callable[[float], None], done: int, count: int) -> Callable[[float], None]:
    """Return what is told the share of one of so many parts, of which so many are done."""
    return lambda share: told((done + share) / count)
