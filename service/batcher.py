"""Micro-batches: requests that wait are answered together.

A batch forms only from requests that are waiting already: those that came up in one turn of the
event loop, and those that came while the model was busy. Nothing ever waits for a timer. Called by
the event loop (`submit`), gives back `asyncio` futures.

A thread per version runs the model, so that a slow one holds up nobody else. A model that is known
to be quick runs on the event loop itself: handing it to a thread and back costs several times what
it takes.
"""

from __future__ import annotations

import asyncio
import collections
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import structlog

from coppice import errors, runtime
from service import prompt, recorder, tensors

Inputs: TypeAlias = Mapping[str, tensors.Array]
Predict: TypeAlias = Callable[[Inputs], runtime.Answers]

QUICK_SECONDS = 0.0005
"""A model whose runs take less than this is run on the event loop."""
UNKNOWN_SECONDS = 0.005
"""How long the runs of a model take that was not seen yet, so that it starts on its thread."""
MEMORY = 0.9
"""What a run leaves of the mean of those before it."""

_LOG = structlog.get_logger()


class Job(NamedTuple):
    """A request that waits: its inputs, how many rows they have, and who is told the answer."""

    inputs: Inputs
    rows: int
    future: asyncio.Future[runtime.Answers]


class Limits(NamedTuple):
    """How many rows run together, and how many requests may wait."""

    rows: int
    queue: int


class Batcher:
    """Runs one version's model, on a thread of its own or, where it is quick, on the event loop.

    Parameters
    ----------
    predict
        Answers a batch; never called twice at the same time.
    limits
        Bounds of a batch and of the queue.
    loop
        The event loop that the futures belong to.
    metrics
        Counts batches.
    """

    def __init__(
        self,
        predict: Predict,
        *,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        metrics: recorder.Recorder,
    ) -> None:
        self._predict = predict
        self._limits = limits
        self._loop = loop
        self._metrics = metrics
        self._waiting: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._fresh: list[Job] = []
        # Two counts with one writer each need no lock.
        self._submitted = 0
        self._taken = 0
        self._closed = False
        self._busy = False
        self._seconds = UNKNOWN_SECONDS
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, inputs: Inputs, rows: int) -> asyncio.Future[runtime.Answers]:
        """Queue a request; call it on the event loop.

        Raises
        ------
        Overloaded
            As many requests wait as may.
        NotReady
            The version was closed.
        """
        if self._closed:
            message = "this version was just replaced; send the request again"
            raise errors.NotReady(message)
        if self._submitted - self._taken >= self._limits.queue:
            raise errors.Overloaded
        if not self._fresh:
            # The thread is woken once per turn of the event loop, not once per request: each
            # wake-up makes two threads fight for Python's lock.
            self._loop.call_soon(self.hand_over)
        future: prompt.Prompt[runtime.Answers] = prompt.Prompt(loop=self._loop)
        self._fresh.append(Job(inputs, rows, future))
        self._submitted += 1
        return future

    def hand_over(self) -> None:
        """Run what came up, or hand it to the thread; call it on the event loop."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        if not self._may_run_here(fresh):
            self._waiting.put(fresh)
            return
        backlog = collections.deque(fresh)
        while backlog:
            if batch := self._gather(backlog):
                self._run(batch, _at_once)

    def _may_run_here(self, fresh: Sequence[Job]) -> bool:
        # The order matters: with everything taken, the thread was marked as busy before.
        idle = self._submitted - self._taken == len(fresh) and not self._busy
        quick = self._seconds < QUICK_SECONDS
        return idle and quick and max(job.rows for job in fresh) <= self._limits.rows

    def close(self) -> None:
        """Take nothing more; what waits is still answered, then the thread ends."""
        if not self._closed:
            self._closed = True
            self.hand_over()
            self._waiting.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(seconds)

    def _work(self) -> None:
        backlog: collections.deque[Job] = collections.deque()
        ended = False
        while backlog or not ended:
            while not ended and (not backlog or not self._waiting.empty()):
                self._busy = bool(backlog)
                jobs = self._waiting.get()
                self._busy = True
                ended = jobs is None
                backlog.extend(jobs or ())
            if backlog and (batch := self._gather(backlog)):
                self._run(batch, self._loop.call_soon_threadsafe)

    def _gather(self, backlog: collections.deque[Job]) -> list[Job]:
        """Take what fits into one run; abandoned requests are left out."""
        batch: list[Job] = []
        rows = 0
        while backlog and (not batch or rows + backlog[0].rows <= self._limits.rows):
            job = backlog.popleft()
            self._taken += 1
            if not job.future.done():
                batch.append(job)
                rows += job.rows
        return batch

    def _run(self, batch: Sequence[Job], call: Callable[..., object]) -> None:
        """Answer a batch; `call` brings what came of it to the event loop."""
        try:
            answers = self._timed(batch)
        except Exception as cause:  # noqa: BLE001 - a model may raise anything
            if len(batch) > 1:
                # One request must not fail the others that happened to wait beside it.
                for job in batch:
                    self._run([job], call)
                return
            _LOG.warning("model failed", error=repr(cause))
            self._metrics.turn_failed("batcher")
            _tell(call, _fail, batch, cause)
        else:
            self._metrics.batch(len(answers.scores))
            _tell(call, _settle, batch, answers)

    def _timed(self, batch: Sequence[Job]) -> runtime.Answers:
        # Processor time, because a busy machine makes every run look slow now and then.
        began = time.thread_time()
        try:
            return self._predict(together([job.inputs for job in batch]))
        finally:
            took = time.thread_time() - began
            self._seconds = MEMORY * self._seconds + (1.0 - MEMORY) * took


def _at_once(settle: Callable[..., None], batch: Sequence[Job], outcome: Any) -> None:
    settle(batch, outcome)


def _tell(
    call: Callable[..., object], settle: Callable[..., None], batch: Sequence[Job], outcome: Any
) -> None:
    try:
        call(settle, batch, outcome)
    except RuntimeError:
        _LOG.warning("the server stopped before an answer was ready", requests=len(batch))


def together(parts: Sequence[Inputs]) -> Inputs:
    """Return the inputs of several requests as one batch, in their order."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _settle(batch: Sequence[Job], answers: runtime.Answers) -> None:
    if len(batch) == 1:
        if not batch[0].future.done():
            batch[0].future.set_result(answers)
        return
    start = 0
    for job in batch:
        rows = slice(start, start + job.rows)
        start += job.rows
        if not job.future.done():
            job.future.set_result(runtime.Answers(answers.scores[rows], answers.features[rows]))


def _fail(batch: Sequence[Job], cause: Exception) -> None:
    for job in batch:
        if not job.future.done():
            job.future.set_exception(cause)


class Deadlines:
    """Ends futures that take too long, with one timer for all of them.

    Cheaper than a timer per request, at the price of being up to a twentieth late.

    Parameters
    ----------
    loop
        The event loop that the futures belong to.
    seconds
        How long each may take.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._watched: collections.deque[tuple[float, asyncio.Future[Any]]] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[Any]) -> None:
        """End this future with `TimeoutError` unless it is done in time."""
        watched = self._watched
        # What is done is let go of at once: answers that wait for a sweep leave the caches.
        while watched and watched[0][1].done():
            watched.popleft()
        watched.append((self._loop.time() + self._seconds, future))
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds / 20, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        while self._watched:
            due, future = self._watched[0]
            if due > now and not future.done():
                break
            self._watched.popleft()
            if not future.done():
                future.set_exception(TimeoutError(f"no answer within {self._seconds:g} s"))
        again = bool(self._watched)
        self._timer = self._loop.call_later(self._seconds / 20, self._sweep) if again else None
