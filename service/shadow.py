"""Shadows: mirrored copies answered by another version, never returned to a client.

A thread of its own takes copies from a bounded queue, waits for a moment in which no client waits,
and answers all that gathered together. What does not fit into the queue is dropped and counted: a
shadow can neither slow nor fail the request that it copies.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import structlog

from coppice import artifact, clock, errors, labels, records, runtime
from service import batcher, outbox, recorder, versions

PATIENCE_SECONDS = 0.02
"""Longest wait for a quiet moment: under steady load shadows still get their turn."""
QUIET_SECONDS = 0.001

_LOG = structlog.get_logger()


class Copy(NamedTuple):
    """A request to answer once more.

    `version` is `None` where it could not be loaded; `tag` names it all the same. `scores` are what
    the client got, from the version `against`.
    """

    request_id: str
    inputs: batcher.Inputs
    rows: int
    tag: str
    version: versions.Version | None
    role: records.Role
    against: str
    scores: runtime.Floats


class Shadows:
    """Answers mirrored copies on a thread of its own.

    Parameters
    ----------
    post
        Where Shadow events go.
    limits
        Most rows answered in one run, and most copies that may wait.
    busy
        Says whether a client waits at this moment.
    source
        Written into the events' envelopes.
    metrics
        Counts what became of copies.
    time
        The clock.
    """

    def __init__(
        self,
        post: outbox.Outbox,
        *,
        limits: batcher.Limits,
        busy: Callable[[], bool],
        source: str,
        metrics: recorder.Recorder,
        time: clock.Clock,
    ) -> None:
        self._post = post
        self._limits = limits
        self._busy = busy
        self._source = source
        self._metrics = metrics
        self._clock = time
        self._waiting: queue.SimpleQueue[Copy | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, copy: Copy) -> None:
        """Queue a copy, or drop it where the queue is full."""
        if self._waiting.qsize() >= self._limits.queue or self._stopping.is_set():
            self._metrics.shadow(copy.role, "dropped")
        else:
            self._waiting.put(copy)

    def close(self, seconds: float) -> None:
        """Drop what waits, counted, and end the thread."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join(seconds)

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            self._wait_for_quiet()
            copies = [first]
            rows = first.rows
            while rows < self._limits.rows and not self._waiting.empty():
                copy = self._waiting.get()
                if copy is None:
                    self._waiting.put(None)
                    break
                copies.append(copy)
                rows += copy.rows
            try:
                self._turn(copies)
            except Exception:  # noqa: BLE001 - the loop must go on
                _LOG.exception("shadow failed", copies=len(copies))
                self._metrics.turn_failed("shadow")

    def _wait_for_quiet(self) -> None:
        until = self._clock.monotonic() + PATIENCE_SECONDS
        while self._busy() and self._clock.monotonic() < until and not self._stopping.is_set():
            self._clock.sleep(QUIET_SECONDS)

    def _turn(self, copies: Sequence[Copy]) -> None:
        for same in _by_version(copies):
            first = same[0]
            if self._stopping.is_set() or (first.version is not None and first.version.closed):
                self._metrics.shadow(first.role, "dropped", len(same))
                continue
            self._store(self._answer(first.version, same))

    def _store(self, shadows: Sequence[records.Shadow]) -> None:
        now = self._clock.now()
        events = [records.seal(shadow, source=self._source, now=now) for shadow in shadows]
        stored = self._post.post(events)
        failed = sum(shadow.error is not None for shadow in shadows)
        counts: dict[recorder.ShadowOutcome, int] = {
            "failed": failed,
            "answered": len(shadows) - failed,
        }
        for outcome, count in counts.items():
            if count:
                self._metrics.shadow(shadows[0].role, outcome if stored else "dropped", count)

    def _answer(
        self, version: versions.Version | None, copies: Sequence[Copy]
    ) -> list[records.Shadow]:
        began = self._clock.monotonic()
        try:
            scores, differs = _compared(version, copies)
        except errors.CoppiceError as cause:
            if len(copies) > 1 and version is not None:
                # Copies of other requests must not be blamed for one that the version fails on.
                return [shadow for copy in copies for shadow in self._answer(version, [copy])]
            return [_shadow(copy, error=str(cause)) for copy in copies]
        share = (self._clock.monotonic() - began) / len(copies)
        ends = itertools.accumulate(copy.rows for copy in copies)
        return [
            _shadow(
                copy,
                scores=scores[end - copy.rows : end],
                agrees=tuple(not differ for differ in differs[end - copy.rows : end]),
                seconds=share,
            )
            for copy, end in zip(copies, ends, strict=True)
        ]


def _by_version(copies: Iterable[Copy]) -> list[list[Copy]]:
    groups: dict[tuple[str, records.Role], list[Copy]] = {}
    for copy in copies:
        groups.setdefault((copy.tag, copy.role), []).append(copy)
    return list(groups.values())


def _compared(
    version: versions.Version | None, copies: Sequence[Copy]
) -> tuple[runtime.Floats, list[bool]]:
    """Answer copies in one run; return the scores, and where they differ from what clients got."""
    if version is None:
        message = f"{copies[0].tag} could not be loaded"
        raise errors.ArtifactError(message)
    inputs = batcher.together([copy.inputs for copy in copies])
    artifact.check_inputs(version.manifest, inputs)
    scores = version.runtime.scores(inputs)
    for copy in copies:
        if copy.scores.shape[1:] != scores.shape[1:]:
            message = f"answers {scores.shape}, not {copy.scores.shape}"
            raise errors.ArtifactError(message)
    answered = np.concatenate([copy.scores for copy in copies])
    differs = labels.differ(scores, answered, task=version.task, scale=version.manifest.scale)
    return scores, differs.tolist()


def _shadow(
    copy: Copy,
    *,
    scores: runtime.Floats | None = None,
    agrees: tuple[bool, ...] = (),
    seconds: float = 0.0,
    error: str | None = None,
) -> records.Shadow:
    return records.Shadow(
        request_id=copy.request_id,
        model=copy.tag.partition(":")[0],
        version=copy.tag,
        role=copy.role,
        against=copy.against,
        outputs={} if scores is None else {"scores": records.Tensor.of(scores)},
        agrees=agrees,
        latency_seconds=seconds,
        error=error,
    )
