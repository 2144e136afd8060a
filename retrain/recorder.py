"""Every metric of the learning plane: names, labels and help in one place."""

from __future__ import annotations

import itertools
from typing import get_args

import prometheus_client

from coppice import metrics, records
from retrain import history, trigger

STATUSES = ("started", "finished", "held", "failed")
CAUSES = (*get_args(records.Cause), "manual")


class Recorder(metrics.LoopMetrics):
    """Count and show what the retrainer does; it never decides.

    Parameters
    ----------
    model
        Value of the `model` label of every metric.
    registry
        Where the metrics are registered; one of its own by default.
    """

    def __init__(
        self, model: str, registry: prometheus_client.CollectorRegistry | None = None
    ) -> None:
        super().__init__(model, prefix="coppice_retrain", process="retrainer", registry=registry)
        self._decisions = self._counter(
            "coppice_retrain_decisions", "Looks at a verdict of decay.", "action", "rule"
        )
        self._steps = self._counter(
            "coppice_retrain_steps", "Retrainings by what became of them.", "status", "cause"
        )
        for status, cause in itertools.product(STATUSES, CAUSES):
            # From nought, so that the first failure is an increase that an alert sees.
            self._steps.labels(model, status, cause)
        self._labels = self._gauge(
            "coppice_retrain_labelled_rows", "Labelled production rows kept."
        )
        self._pending = self._gauge(
            "coppice_retrain_pending", "1 while a decay waits for an answer."
        )
        self._progress = self._gauge(
            "coppice_retrain_phase_ratio", "Share of a phase that is done.", "phase"
        )

    def saw(self, state: history.State, labelled_rows: int) -> None:
        """Show where the learning plane stands at the end of a turn."""
        self._labels.labels(self._model).set(labelled_rows)
        self._pending.labels(self._model).set(state.pending is not None)

    def decided(self, decision: trigger.Decision) -> None:
        """Count a look at a verdict."""
        self._decisions.labels(self._model, decision.action, decision.rule).inc()

    def stepped(self, record: records.Retraining) -> None:
        """Count a step of a retraining."""
        self._steps.labels(self._model, record.status, record.cause).inc()

    def progressed(self, phase: str, share: float) -> None:
        """Show how far a phase of the running retraining is."""
        self._progress.labels(self._model, phase).set(share)
