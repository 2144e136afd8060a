"""The outbox: nothing is answered before its event is committed.

While it is sure to be quick, the event loop commits by itself, once for all events that came up in
one of its turns: handing them to a thread and back costs more than a commit. Else one thread
writes: where another process holds the log, where a commit waits for the disk, where room is short,
and once a second to look whether it is. While it commits, further events wait, and the next
transaction takes all of them. What the log gathered is put in its place beside all that
(`service.checkpoints`).

Where the log is nearly full, predictions are stored without their inputs (counted). Where it is
full, feedback is refused with `LogFull`, and its client is told so; a prediction is refused too, or
answered without being stored (counted), as the settings say. Called by the event loop (`commit`)
and by the shadow thread (`post`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import structlog

from coppice import clock, errors, records
from coppice.eventlog import base
from service import checkpoints, prompt, recorder

GROUP = 512
"""No more events are added to a transaction of so many; bounds how long the first one waits."""

SLOW_SECONDS = 0.005
"""After a commit that took longer than this the thread has a turn."""

LEAN_SECONDS = 5.0
"""After the log was full, inputs are left out for so long before they are tried again."""

NEARLY_FULL = 0.1
"""With less than this share of the log's cap left, inputs are left out."""

ROOM_SECONDS = 1.0
"""Pause between two looks at how much room is left."""

_LOG = structlog.get_logger()
_PREDICTION = records.NAMES[records.Prediction]


class Log(base.EventLog, base.Bounded, checkpoints.Log, Protocol):
    """An event log that knows how full it is, and that can be written without waiting."""

    def append_at_once(self, events: Sequence[records.Event]) -> bool:
        """Store events, or return `False` at once where that is not sure to be quick."""
        ...


class _Letter(NamedTuple):
    event: records.Event
    future: asyncio.Future[None] | None


class Outbox:
    """Commits events to the log in groups, on the event loop or on a thread of its own.

    Parameters
    ----------
    log
        Where the events go.
    loop
        The event loop that is told of commits.
    metrics
        Counts commits and failures.
    time
        The clock.
    limit
        Most events that may wait.
    answer_when_full
        Whether a prediction that finds no room counts as committed all the same.
    """

    def __init__(
        self,
        log: Log,
        *,
        loop: asyncio.AbstractEventLoop,
        metrics: recorder.Recorder,
        time: clock.Clock,
        limit: int,
        answer_when_full: bool = False,
    ) -> None:
        self._log = log
        self._loop = loop
        self._metrics = metrics
        self._clock = time
        self._limit = limit
        self._answer_when_full = answer_when_full
        self._lean_until = -1.0
        self._looked_at = float("-inf")
        self._waiting: queue.SimpleQueue[list[_Letter] | None] = queue.SimpleQueue()
        self._fresh: list[_Letter] = []
        # Counts with one writer each need no lock.
        self._committing = 0
        self._posted = 0
        self._taken = 0
        self._stored_here = 0
        self._busy = False
        # Until when events may be committed on the event loop; the thread says so.
        self._here_until = float("-inf")
        self._checkpoints = checkpoints.Checkpoints(log, metrics)
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def commit(self, event: records.Event) -> asyncio.Future[None]:
        """Store an event; the future is done once it is committed. Call it on the event loop.

        The future raises `LogFull` or `EventLogError` where it was not stored.

        Raises
        ------
        Overloaded
            As many events wait as may: the disk is too slow.
        """
        if self._backlog() >= self._limit:
            raise errors.Overloaded
        if not self._fresh:
            # The writer is woken once per turn of the event loop, with all that came up in it.
            self._loop.call_soon(self.hand_over)
        future: prompt.Prompt[None] = prompt.Prompt(loop=self._loop)
        self._fresh.append(_Letter(event, future))
        self._committing += 1
        return future

    def post(self, events: Sequence[records.Event]) -> bool:
        """Store events that nobody waits for; `False` where the queue is half full already.

        Call it on one thread only.
        """
        if self._backlog() >= self._limit // 2:
            return False
        self._waiting.put([_Letter(event, None) for event in events])
        self._posted += len(events)
        return True

    def _backlog(self) -> int:
        return self._committing + self._posted - self._taken

    def hand_over(self) -> None:
        """Commit what came up, or hand it to the thread; call it on the event loop."""
        fresh, self._fresh = self._fresh, []
        if fresh and not self._commit_here(fresh):
            self._waiting.put(fresh)

    def _commit_here(self, group: Sequence[_Letter]) -> bool:
        """Commit on the event loop; `False` where the thread has to do it."""
        began = self._clock.monotonic()
        if began > self._here_until:
            return False
        # The order matters: with everything taken, the thread was marked as busy before.
        if self._backlog() > len(group) or self._busy:
            return False
        try:
            stored = self._log.append_at_once([letter.event for letter in group])
        except Exception:  # noqa: BLE001 - the thread tries again, and tells the clients
            _LOG.exception("commit on the event loop failed", events=len(group))
            self._metrics.turn_failed("outbox")
            stored = False
        if not stored:
            return False
        took = self._clock.monotonic() - began
        if took > SLOW_SECONDS:
            self._here_until = float("-inf")
        self._committing -= len(group)
        self._stored_here += len(group)
        self._checkpoints.stored(self._stored_here + self._taken)
        _settle(group, {})
        self._metrics.committed(took, self._backlog())
        return True

    @property
    def alive(self) -> bool:
        """Whether the thread that writes is running."""
        return self._thread.is_alive()

    def close(self, seconds: float) -> None:
        """Commit what waits, then end the thread; waits at most so long."""
        self.hand_over()
        self._waiting.put(None)
        self._thread.join(seconds)
        self._checkpoints.close(seconds)

    def _work(self) -> None:
        ended = False
        while not ended:
            group: list[_Letter] = []
            while not group or (len(group) < GROUP and not self._waiting.empty()):
                self._busy = bool(group)
                letters = self._waiting.get()
                self._busy = True
                ended = letters is None
                if letters is None:
                    break
                group += letters
            if group:
                self._taken += len(group)
                self._turn(group)

    def _turn(self, group: Sequence[_Letter]) -> None:
        began = self._clock.monotonic()
        try:
            failures = self._store([letter.event for letter in group])
        except Exception as cause:  # noqa: BLE001 - whatever it was, the clients must be told
            _LOG.exception("outbox failed", events=len(group))
            self._metrics.turn_failed("outbox")
            unforeseen = errors.EventLogError(f"the event could not be stored: {cause}")
            failures = dict.fromkeys(range(len(group)), unforeseen)
        self._metrics.committed(self._clock.monotonic() - began, self._backlog())
        lean = bool(failures) or began < self._lean_until
        self._here_until = float("-inf") if lean else began + ROOM_SECONDS
        self._checkpoints.stored(self._stored_here + self._taken)
        if failures:
            self._metrics.commit_failed(len(failures))
        if any(letter.future is not None for letter in group):
            self._tell(group, failures)

    def _tell(self, group: Sequence[_Letter], failures: dict[int, errors.EventLogError]) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, group, failures)
        except RuntimeError:
            _LOG.warning("the server stopped before a commit was announced", events=len(group))

    def _store(self, events: list[records.Event]) -> dict[int, errors.EventLogError]:
        """Append events, and return what failed by its place in the list."""
        self._look_for_room()
        if self._clock.monotonic() < self._lean_until:
            events = self._bare(events)
        try:
            self._log.append(events)
        except errors.LogFull:
            self._lean_until = self._clock.monotonic() + LEAN_SECONDS
            return self._excuse(events, self._store_bare(self._bare(events)))
        except errors.EventLogError as cause:
            _LOG.error("commit failed", error=str(cause), events=len(events))
            return dict.fromkeys(range(len(events)), cause)
        return {}

    def _look_for_room(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at < ROOM_SECONDS:
            return
        self._looked_at = now
        try:
            nearly_full = self._log.room() < NEARLY_FULL
        except errors.EventLogError:  # the append that follows says what is wrong
            return
        if nearly_full:
            self._lean_until = now + LEAN_SECONDS

    def _excuse(
        self, events: Sequence[records.Event], failures: dict[int, errors.EventLogError]
    ) -> dict[int, errors.EventLogError]:
        """Leave out the predictions that are answered though there was no room for them."""
        if not self._answer_when_full:
            return failures
        excused = [
            place
            for place, cause in failures.items()
            if isinstance(cause, errors.LogFull) and events[place].type == _PREDICTION
        ]
        self._metrics.answered_unstored(len(excused))
        return {place: cause for place, cause in failures.items() if place not in excused}

    def _store_bare(self, events: list[records.Event]) -> dict[int, errors.EventLogError]:
        """Append what is left without inputs: together, else one by one, feedback first."""
        try:
            self._log.append(events)
        except errors.LogFull:
            _LOG.error("the event log is full", events=len(events))
        else:
            return {}
        failures: dict[int, errors.EventLogError] = {}
        for place in sorted(range(len(events)), key=lambda i: events[i].type == _PREDICTION):
            try:
                self._log.append([events[place]])
            except errors.EventLogError as cause:
                failures[place] = cause
        return failures

    def _bare(self, events: list[records.Event]) -> list[records.Event]:
        stripped = [without_inputs(event) for event in events]
        changed = sum(new is not old for new, old in zip(stripped, events, strict=True))
        if changed:
            self._metrics.inputs_dropped(changed)
        return stripped


def without_inputs(event: records.Event) -> records.Event:
    """Return a prediction without its inputs; the very same event where there are none."""
    if event.type != _PREDICTION:
        return event
    record = records.unseal(event)
    if not isinstance(record, records.Prediction) or not record.inputs:
        return event
    bare = records.seal(
        msgspec.structs.replace(record, inputs={}), source=event.source, now=event.time
    )
    return msgspec.structs.replace(event, data=bare.data)


def _settle(group: Sequence[_Letter], failures: dict[int, errors.EventLogError]) -> None:
    for place, letter in enumerate(group):
        if letter.future is None or letter.future.done():
            continue
        cause = failures.get(place)
        if cause is None:
            letter.future.set_result(None)
        else:
            letter.future.set_exception(cause)
