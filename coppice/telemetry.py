"""Logging, and silence: no library of ours reports home.

`silence` must run before the libraries are imported, so each entry point calls it first.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

import structlog

from coppice import errors

OPT_OUT = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "OPENVINO_TELEMETRY_DISABLE": "1",
}


def silence() -> None:
    """Switch off the usage tracking of every library, for this process and its children."""
    os.environ.update(OPT_OUT)


_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def traced(environment: Mapping[str, str]) -> bool:
    """Say whether the environment asks for traces, in OpenTelemetry's own variables.

    >>> traced({}), traced({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    (False, True)

    Raises
    ------
    EnvironmentProblem
        It asks for an exporter other than OTLP.
    """
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    if exporter not in {"", "otlp"}:
        message = f"OTEL_TRACES_EXPORTER={exporter}: set it to otlp or none; there is no other here"
        raise errors.EnvironmentProblem(message)
    return bool(exporter) or any(environment.get(name) for name in _ENDPOINTS)


def configure(plane: str, *, json: bool | None = None) -> None:
    """Send structured logs to standard error: JSON, or coloured lines on a terminal.

    Parameters
    ----------
    plane
        Bound to every line as `plane`.
    json
        Force one form; by default JSON wherever standard error is not a terminal.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    renderers: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer()]
    if as_json:
        # The console renderer formats exceptions by itself.
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_to_standard_error,
        # A logger that is kept knows neither a later configuration nor a capture, for a gain of
        # two microseconds a line.
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(plane=plane)


def _to_standard_error(*_: object) -> structlog.PrintLogger:
    """Write to what standard error is at the time of the line."""
    return structlog.PrintLogger(sys.stderr)
