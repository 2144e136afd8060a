"""How long a search may still take."""

from __future__ import annotations

from coppice import clock


class OutOfTime(Exception):
    """The time is up. Caught by the search's own flow, which then says what it has."""


class Deadline:
    """A moment after which nothing new is begun.

    Parameters
    ----------
    seconds
        From now; `None` for no end.
    timer
        Its `monotonic` is read.
    """

    def __init__(self, seconds: float | None, timer: clock.Clock) -> None:
        self._timer = timer
        self._end = None if seconds is None else timer.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether the moment has come."""
        return self._end is not None and self._timer.monotonic() >= self._end

    def check(self) -> None:
        """Raise `OutOfTime` where it has come."""
        if self.over:
            raise OutOfTime

    def part(self, share: float) -> Deadline:
        """Return a deadline after a share of the time that is left."""
        if self._end is None:
            return self
        return Deadline(share * (self._end - self._timer.monotonic()), self._timer)
