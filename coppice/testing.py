"""Public test doubles: a clock that stands still, and the in-memory twin of each store.

They are real implementations that pass the same conformance suites as the others, so code that is
tested with them needs no patching.
"""

from __future__ import annotations

from coppice.eventlog.memory import MemoryLog
from coppice.registry.memory import MemoryRegistry

__all__ = ["ManualClock", "MemoryLog", "MemoryRegistry"]


class ManualClock:
    """A clock that moves only when it is told to, or when somebody sleeps on it.

    Parameters
    ----------
    now
        Where it starts, in seconds since 1970-01-01 UTC; by default 14 November 2023, 22:13:20.

    Examples
    --------
    >>> clock = ManualClock(now=100.0)
    >>> clock.sleep(2.5)
    >>> clock.now(), clock.monotonic()
    (102.5, 2.5)
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._start = now
        self._passed = 0.0

    def now(self) -> float:
        """Return the time in seconds since 1970-01-01 UTC."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Return the seconds that have passed on this clock."""
        return self._passed

    def processor(self) -> float:
        """Return the seconds that have passed: whoever moves this clock is at work."""
        return self._passed

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass.

        Raises
        ------
        ValueError
            The seconds are negative: `monotonic` never goes back.
        """
        if seconds < 0:
            message = f"a clock cannot be advanced by {seconds} seconds"
            raise ValueError(message)
        self._passed += seconds
