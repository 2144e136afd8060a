"""Every metric of the follower: names, labels and help in one place."""

from __future__ import annotations

from collections.abc import Mapping

import prometheus_client

from coppice import metrics
from coppice.eventlog import envelope


class Recorder(metrics.LoopMetrics):
    """Count and show what the follower does; it never decides.

    Parameters
    ----------
    model
        Value of the `model` label of every metric.
    prefix
        Before the name of every topic in the cluster; no part of the `topic` label.
    registry
        Where the metrics are registered; one of its own by default.

    Examples
    --------
    >>> Recorder("digits").stored(3)
    """

    def __init__(
        self,
        model: str,
        prefix: str = "",
        registry: prometheus_client.CollectorRegistry | None = None,
    ) -> None:
        super().__init__(model, prefix="coppice_follow", process="follower", registry=registry)
        self._prefix = prefix
        self._lag = self._gauge(
            "coppice_follow_lag", "Records in Kafka that are not in this log yet.", "topic"
        )
        self._waiting = self._gauge(
            "coppice_follow_waiting", "1 while no broker can be reached, and none is asked."
        )
        self._waiting.labels(model)
        self._heard = self._gauge(
            "coppice_follow_heard_timestamp_seconds",
            "When the brokers last said how many records there are, seconds since 1970 UTC.",
        )
        self._events = self._counter(
            "coppice_follow_events", "Events that came from Kafka, repeats included."
        )
        self._events.labels(model)
        self._dead = self._counter(
            "coppice_follow_dead_letters", "Records put aside because they are no events.", "topic"
        )
        for topic in envelope.topics():
            # From nought, so that the first one is an increase that an alert sees.
            self._dead.labels(model, topic)

    def stored(self, count: int) -> None:
        """Count events that were stored, or were there already."""
        self._events.labels(self._model).inc(count)

    def buried(self, topic: str) -> None:
        """Count a record that was put aside."""
        self._dead.labels(self._model, topic.removeprefix(self._prefix)).inc()
        self.passed_over()

    def heard(self, lags: Mapping[str, int], now: float) -> None:
        """Show how much is still to be read."""
        self._heard.labels(self._model).set(now)
        for topic, lag in lags.items():
            self._lag.labels(self._model, topic.removeprefix(self._prefix)).set(lag)

    def waiting(self, *, waits: bool) -> None:
        """Show whether the follower waits for a cluster that cannot be reached."""
        self._waiting.labels(self._model).set(int(waits))
