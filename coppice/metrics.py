"""What the recorders of the background loops share: making metrics, and counting bad turns."""

from __future__ import annotations

import prometheus_client

from coppice import errors


def serve(registry: prometheus_client.CollectorRegistry, host: str, port: int) -> None:
    """Answer scrapes of a registry, from a thread of its own.

    Parameters
    ----------
    registry
        What is shown.
    host
        Address to listen on.
    port
        Port there; 0 means not at all.

    Raises
    ------
    EnvironmentProblem
        This machine does not have the address, or the port is taken.
    """
    if not port:
        return
    try:
        prometheus_client.start_http_server(port, host, registry)
    except OSError as cause:
        message = (
            f"cannot show metrics on {host}:{port}: {cause}; set metrics.host to an address of "
            "this machine, and a port that nobody else has"
        )
        raise errors.EnvironmentProblem(message) from cause


class LoopMetrics:
    """The metrics of one background process, all of them labelled with the model.

    Parameters
    ----------
    model
        Value of the `model` label of every metric.
    prefix
        Start of every name, such as `coppice_rollout`.
    process
        Who takes the turns, for the help texts.
    registry
        Where the metrics are registered; one of its own by default, so that two recorders in one
        process do not collide.
    """

    def __init__(
        self,
        model: str,
        *,
        prefix: str,
        process: str,
        registry: prometheus_client.CollectorRegistry | None = None,
    ) -> None:
        self.registry = registry or prometheus_client.CollectorRegistry()
        self._model = model
        self._errors = self._counter(
            f"{prefix}_turn_errors", f"Turns of the {process} that raised.", "error"
        )
        self._undecodable = self._counter(
            f"{prefix}_undecodable_events", "Events passed over because they do not decode."
        )
        self._undecodable.labels(model)

    def failed(self, cause: Exception) -> None:
        """Count a turn that raised."""
        self._errors.labels(self._model, type(cause).__name__).inc()

    def passed_over(self) -> None:
        """Count an event that does not decode."""
        self._undecodable.labels(self._model).inc()

    def serve(self, host: str, port: int) -> None:
        """Answer scrapes; see `serve` above."""
        serve(self.registry, host, port)

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(name, text, ["model", *labels], registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(name, text, ["model", *labels], registry=self.registry)
