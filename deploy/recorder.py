"""Every metric of the control plane: names, labels and help in one place."""

from __future__ import annotations

from typing import get_args, get_type_hints

import prometheus_client

from coppice import metrics, records, routing

STAGES: tuple[records.Stage, ...] = get_args(records.Stage)
OUTCOMES: tuple[str, ...] = get_args(get_type_hints(records.Rollout)["outcome"])


class Recorder(metrics.LoopMetrics):
    """Count and show what the controller does; it never decides.

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
        super().__init__(model, prefix="coppice_rollout", process="controller", registry=registry)
        self._stage = self._gauge("coppice_rollout_stage", "1 for the stage that runs.", "stage")
        self._weight = self._gauge(
            "coppice_rollout_weight_ratio", "Share of the keys on the candidate."
        )
        self._paused = self._gauge("coppice_rollout_paused", "1 while an operator holds it.")
        self._generation = self._gauge(
            "coppice_rollout_generation", "Generation of the routing table as the backend shows it."
        )
        self._waiting = self._gauge(
            "coppice_rollout_waiting_candidates", "1 while a candidate waits for its rollout."
        )
        self._decisions = self._counter(
            "coppice_rollout_decisions", "Steps carried out, by outcome.", "outcome"
        )
        for outcome in OUTCOMES:
            # From nought, so that the first of a kind is an increase.
            self._decisions.labels(model, outcome)
        self._edits = self._counter(
            "coppice_rollout_external_edits", "Routing tables found that somebody else wrote."
        )
        self._edits.labels(model)

    def saw(
        self,
        state: records.Rollout | None,
        table: routing.RoutingTable | None,
        *,
        waiting: bool,
    ) -> None:
        """Show the state and the world at the end of a turn."""
        self._generation.labels(self._model).set(0 if table is None else table.generation)
        self._weight.labels(self._model).set(0.0 if table is None else table.weight)
        self._waiting.labels(self._model).set(waiting)
        self._paused.labels(self._model).set(state is not None and state.paused)
        for stage in STAGES:
            self._stage.labels(self._model, stage).set(state is not None and state.stage == stage)

    def page(self) -> bytes:
        """Return the text of `/metrics`."""
        return prometheus_client.generate_latest(self.registry)

    def decided(self, rollout: records.Rollout) -> None:
        """Count a step that was carried out to its end."""
        self._decisions.labels(self._model, rollout.outcome).inc()

    def found_edit(self) -> None:
        """Count a routing table that somebody else wrote."""
        self._edits.labels(self._model).inc()
