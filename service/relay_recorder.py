"""All metrics of the relay, with their names, labels and help, in one place.

The relay ends whenever it misses a deadline, so how often that happened is kept in a file: a
counter that began at nought with each start would never be seen to grow.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import prometheus_client

from coppice import files, metrics
from coppice.eventlog import base

FAILURES = "relay-failures"
"""File below the home folder that holds how often the relay missed its deadline."""


class Recorder:
    """Counts and shows what the relay does; it never decides.

    Parameters
    ----------
    model
        Value of the `model` label of every metric.
    home
        Folder of the file that counts missed deadlines; nowhere by default.
    registry
        Where the metrics are registered; one of its own by default.

    Examples
    --------
    >>> recorder = Recorder("digits")
    >>> recorder.relayed(3)
    """

    def __init__(
        self,
        model: str,
        home: Path | None = None,
        registry: prometheus_client.CollectorRegistry | None = None,
    ) -> None:
        self.registry = registry or prometheus_client.CollectorRegistry()
        self._model = model
        self._file = None if home is None else home / FAILURES
        self._backlog = self._gauge(
            "coppice_relay_backlog", "Events of this machine that are not in Kafka yet.", "log"
        )
        self._bytes = self._gauge(
            "coppice_relay_backlog_bytes", "Payload of the events that wait.", "log"
        )
        self._age = self._gauge(
            "coppice_relay_backlog_seconds", "Age of the oldest event that waits.", "log"
        )
        self._waiting = self._gauge(
            "coppice_relay_waiting", "1 while no broker can be reached, and none is asked."
        )
        self._relayed = self._counter("coppice_relay_events", "Events that Kafka acknowledged.")
        self._failures = self._counter(
            "coppice_relay_failures", "Deadlines that Kafka missed; each ends the relay."
        )
        self._turn_failures = self._counter(
            "coppice_relay_log_failures", "Times that a local log could not be read or marked."
        )
        self._stripped = self._counter(
            "coppice_relay_inputs_dropped",
            "Predictions sent without their inputs, because they were too large for Kafka.",
        )
        self._refused = self._counter(
            "coppice_relay_refused", "Events passed over, because they were too large for Kafka."
        )
        self._failures.labels(model).inc(self._remembered())

    def waits(self, log: str, backlog: base.Backlog, now: float) -> None:
        """Show what waits in a local log; `now` is in seconds since 1970 UTC."""
        self._backlog.labels(self._model, log).set(backlog.events)
        self._bytes.labels(self._model, log).set(backlog.bytes)
        age = 0.0 if backlog.oldest is None else max(0.0, now - backlog.oldest)
        self._age.labels(self._model, log).set(age)

    def waiting(self, *, waits: bool) -> None:
        """Show whether the relay waits for a cluster that cannot be reached."""
        self._waiting.labels(self._model).set(int(waits))

    def relayed(self, count: int) -> None:
        """Count acknowledged events."""
        self._relayed.labels(self._model).inc(count)

    def log_failed(self) -> None:
        """Count a local log that could not be used."""
        self._turn_failures.labels(self._model).inc()

    def stripped(self) -> None:
        """Count a prediction that was sent without its inputs."""
        self._stripped.labels(self._model).inc()

    def refused(self) -> None:
        """Count an event that Kafka cannot take."""
        self._refused.labels(self._model).inc()

    def stuck(self) -> None:
        """Count a missed deadline for the relay that is started next; this one ends."""
        if self._file is not None:
            # A disk that is full costs the count, never the events.
            with contextlib.suppress(OSError):
                files.replace(self._file, str(self._remembered() + 1).encode())

    def serve(self, host: str, port: int) -> None:
        """Answer scrapes; see `coppice.metrics.serve`."""
        metrics.serve(self.registry, host, port)

    def _remembered(self) -> int:
        if self._file is None:
            return 0
        with contextlib.suppress(OSError, ValueError):
            return int(self._file.read_bytes())
        return 0

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus_client.Gauge:
        made = prometheus_client.Gauge(name, text, ["model", *labels], registry=self.registry)
        if not labels:
            made.labels(self._model)
        return made

    def _counter(self, name: str, text: str) -> prometheus_client.Counter:
        made = prometheus_client.Counter(name, text, ["model"], registry=self.registry)
        # From nought, so that the first one is an increase that an alert sees.
        made.labels(self._model)
        return made
