"""All metrics of the data plane, with their names, labels and help, in one place.

BentoML's workers run Prometheus in multiprocess mode: the values lie in files that every worker's
`/metrics` adds up. So nothing is made on import; a `Recorder` is made inside the worker, where
`PROMETHEUS_MULTIPROC_DIR` is set. That mode has no Info metric, hence the gauge that is always 1.

Each gauge says how the workers that live make one value: the sum of what waits, the largest where
one worker is enough to say so, and the oldest of the generations, because a routing table is in
force once every worker routes by it. `service.workers` sees to it that the dead no longer count.
"""

from __future__ import annotations

import asyncio
import bisect
import functools
import itertools
import threading
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import prometheus_client
from prometheus_client import registry

from coppice import records

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)

CODES = (200, 400, 404, 408, 413, 422, 429, 500, 503, 504, 507)
"""Statuses that the doors answer with; others are counted from their first on."""

FLUSH_SECONDS = 0.1
"""Longest time for which answers are counted in this process's memory only."""

Door: TypeAlias = Literal["infer", "predict", "feedback", "verdict", "other"]
ShadowOutcome: TypeAlias = Literal["answered", "failed", "dropped"]


class _Tally:
    """Observations of a histogram over these bounds that are added up before it gets them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.total = 0.0
        self.counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Add an observation."""
        self.total += value
        self.counts[bisect.bisect_left(self._bounds, value)] += 1

    def add_to(self, histogram: Any) -> None:
        """Put them into a histogram of Prometheus, which by itself takes them one by one only."""
        histogram._sum.inc(self.total)  # noqa: SLF001 - see above; tested against `observe`
        for place, bucket in enumerate(histogram._buckets):  # noqa: SLF001
            if self.counts[place]:
                bucket.inc(self.counts[place])
                self.counts[place] = 0
        self.total = 0.0


class Recorder:
    """Counts what the data plane does; one per worker process.

    Parameters
    ----------
    collectors
        Where the metrics are registered; by default Prometheus's own registry, which BentoML's
        `/metrics` page shows.

    Examples
    --------
    >>> recorder = Recorder(registry.CollectorRegistry())
    >>> recorder.request("infer", 200)
    """

    def __init__(self, collectors: registry.CollectorRegistry = registry.REGISTRY) -> None:
        counter = functools.partial(prometheus_client.Counter, registry=collectors)
        gauge = functools.partial(prometheus_client.Gauge, registry=collectors)
        histogram = functools.partial(prometheus_client.Histogram, registry=collectors)
        self._requests = counter(
            "coppice_requests_total",
            "Requests answered, by door and HTTP status; refused and failed ones too.",
            ["door", "code"],
        )
        self._seconds = histogram(
            "coppice_request_seconds",
            "Time from a decoded request to its committed answer, by lane and version.",
            ["lane", "version"],
            buckets=SECONDS,
        )
        self._batch_rows = histogram(
            "coppice_batch_rows", "Rows answered in one run of a model.", buckets=ROWS
        )
        self._fallbacks = counter(
            "coppice_fallbacks_total",
            "Requests of the canary lane that stable answered, because the candidate did not.",
            ["version"],
        )
        self._shadows = counter(
            "coppice_shadows_total",
            "Mirrored copies, by role and by what became of them.",
            ["role", "outcome"],
        )
        self._load_failures = counter(
            "coppice_load_failures_total", "Versions or routing tables that could not be used."
        )
        self._turn_failures = counter(
            "coppice_turn_failures_total", "Unforeseen errors in the server's own loops.", ["loop"]
        )
        self._generation = gauge(
            "coppice_routing_generation",
            "Generation of the routing table in force; the oldest of all workers.",
            multiprocess_mode="livemin",
        )
        self._model_info = gauge(
            "coppice_model_info",
            "1 for each version in memory of any worker, with its part; 0 once it is gone.",
            ["version", "part"],
            multiprocess_mode="livemax",
        )
        self._canary_shut = gauge(
            "coppice_canary_shut",
            "1 while the crash guard of any worker keeps the canary lane shut.",
            multiprocess_mode="livemax",
        )
        self._children: dict[tuple[Any, ...], Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread: int | None = None
        self._batches, self._commits = _Tally(ROWS), _Tally(SECONDS)
        self._shown, self._showing = 0, threading.Lock()
        self._responses: dict[tuple[Door, int], int] = {}
        self._answers: dict[tuple[str, str], _Tally] = {}
        self._make_of_outbox(collectors)
        self._begin_at_nought()

    def _make_of_outbox(self, collectors: registry.CollectorRegistry) -> None:
        counter = functools.partial(prometheus_client.Counter, registry=collectors)
        self._commit_seconds = prometheus_client.Histogram(
            "coppice_outbox_commit_seconds",
            "Time of one commit of the outbox.",
            buckets=SECONDS,
            registry=collectors,
        )
        self._commit_failures = counter(
            "coppice_outbox_failures_total", "Events that the outbox could not store."
        )
        self._inputs_dropped = counter(
            "coppice_inputs_dropped_total",
            "Predictions stored without their inputs, because the log was full.",
        )
        self._unstored = counter(
            "coppice_predictions_unstored_total",
            "Predictions answered though the log had no room for their event.",
        )
        self._backlog = prometheus_client.Gauge(
            "coppice_outbox_backlog",
            "Events that wait for their commit, in all workers together.",
            registry=collectors,
            multiprocess_mode="livesum",
        )

    def _begin_at_nought(self) -> None:
        # So that the first failure or drop is an increase that an alert sees.
        for door, code in itertools.product(("infer", "predict", "feedback"), CODES):
            self._child(self._requests, door, str(code))
        for role, outcome in itertools.product(get_args(records.Role), get_args(ShadowOutcome)):
            self._child(self._shadows, role, outcome)

    def _child(self, metric: Any, *values: str) -> Any:
        # `labels()` takes a lock and builds a key by itself; looking up ours is three times faster.
        key = (metric, *values)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*values)
        return child

    def gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on add up answers for `FLUSH_SECONDS`: files are ten times slower than memory.

        Call it on this loop's thread. Then `request` and `answered` are called there only; `batch`
        and `committed` show at once what other threads tell them.
        """
        self._loop = loop
        self._thread = threading.get_ident()

    def flush(self) -> None:
        """Show what was added up; called before a scrape and at the end, too."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for (door, code), count in self._responses.items():
            self._child(self._requests, door, str(code)).inc(count)
        for (lane, version), tally in self._answers.items():
            tally.add_to(self._child(self._seconds, lane, version))
        self._batches.add_to(self._batch_rows)
        self._commits.add_to(self._commit_seconds)
        self._responses.clear()
        self._answers.clear()

    def _changed(self) -> None:
        if self._loop is None:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self.flush)

    def request(self, door: Door, code: int) -> None:
        """Count one response."""
        self._responses[door, code] = self._responses.get((door, code), 0) + 1
        if self._timer is None:
            self._changed()

    def answered(self, lane: str, version: str, seconds: float) -> None:
        """Observe how long an answer took."""
        tally = self._answers.get((lane, version))
        if tally is None:
            tally = self._answers[lane, version] = _Tally(SECONDS)
        tally.observe(seconds)
        if self._timer is None:
            self._changed()

    def batch(self, rows: int) -> None:
        """Observe the size of one run of a model."""
        self._observe(self._batches, self._batch_rows, rows)

    def fallback(self, version: str) -> None:
        """Count a request that stable answered for the candidate `version`."""
        self._child(self._fallbacks, version).inc()

    def shadow(self, role: str, outcome: ShadowOutcome, count: int = 1) -> None:
        """Count mirrored copies."""
        self._child(self._shadows, role, outcome).inc(count)

    def load_failed(self) -> None:
        """Count a version or a table that could not be used."""
        self._load_failures.inc()

    def turn_failed(self, loop: str) -> None:
        """Count an unforeseen error in one of the server's loops."""
        self._child(self._turn_failures, loop).inc()

    def committed(self, seconds: float, backlog: int) -> None:
        """Observe one commit and what still waits."""
        # Nearly always nothing waits, as before; the lock, because two threads commit.
        if backlog or self._shown:
            with self._showing:
                self._shown = backlog
                self._backlog.set(backlog)
        self._observe(self._commits, self._commit_seconds, seconds)

    def _observe(self, tally: _Tally, histogram: Any, value: float) -> None:
        """Add up what the loop's thread observed; what others did is shown at once."""
        if threading.get_ident() != self._thread:
            histogram.observe(value)
            return
        tally.observe(value)
        if self._timer is None:
            self._changed()

    def commit_failed(self, count: int) -> None:
        """Count events that were not stored."""
        self._commit_failures.inc(count)

    def inputs_dropped(self, count: int) -> None:
        """Count predictions that were stored without their inputs."""
        self._inputs_dropped.inc(count)

    def answered_unstored(self, count: int) -> None:
        """Count predictions that were answered though there was no room for their event."""
        self._unstored.inc(count)

    def generation(self, number: int) -> None:
        """Show the generation in force."""
        self._generation.set(number)

    def model(self, version: str, part: str, *, present: bool) -> None:
        """Show that a version plays a part, or no longer does."""
        self._child(self._model_info, version, part).set(int(present))

    def canary_shut(self, *, shut: bool) -> None:
        """Show whether the crash guard keeps the canary lane shut."""
        self._canary_shut.set(int(shut))
