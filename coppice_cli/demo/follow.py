"""Follow the event log and wait for facts: the demo learns everything from here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from coppice import clock, errors, records
from coppice.eventlog import base

R = TypeVar("R", bound=records.Record)
QUIET = (records.Prediction, records.Shadow, records.Feedback, records.Measurement)
POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Fact:
    """One decision out of the log, with the time at which it was written."""

    at: float
    record: records.Record


class Follower:
    """Reads the log forward, keeps the decisions, and shows each new one."""

    def __init__(
        self, log: base.EventLog, clock: clock.Clock, show: Callable[[Fact], None]
    ) -> None:
        self.facts: list[Fact] = []
        self._log = log
        self._clock = clock
        self._show = show
        self._position = base.START

    def catch_up(self) -> None:
        """Read all that is new."""
        while (batch := self._log.read(self._position)).events:
            self._position = batch.position
            for event in batch.events:
                self._take(event)

    def _take(self, event: records.Event) -> None:
        kind = records.TYPES.get(event.type)
        if kind is None or kind in QUIET:
            return
        fact = Fact(at=event.time, record=records.unseal(event))
        self.facts.append(fact)
        self._show(fact)

    def wait(self, kind: type[R], meets: Callable[[R], bool], *, since: int, seconds: float) -> R:
        """Return the first decision of a kind, from the `since`-th on, that meets a condition.

        Raises
        ------
        CoppiceError
            It did not come within `seconds`; the message says what did.
        """
        deadline = self._clock.monotonic() + seconds
        while True:
            self.catch_up()
            for fact in self.facts[since:]:
                if isinstance(fact.record, kind) and meets(fact.record):
                    return fact.record
            if self._clock.monotonic() > deadline:
                names = [type(fact.record).__name__ for fact in self.facts[since:]]
                message = f"no such {kind.__name__} within {seconds:.0f} s; seen since: {names}"
                raise errors.CoppiceError(message)
            self._clock.sleep(POLL_SECONDS)
