"""How the server process is started: its argv and its environment.

Pure but for a look whether the port is free; the command line runs what this returns.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import os
import socket
import sys
from pathlib import Path

from coppice import errors, settings, telemetry

SERVICE = "service.app:Coppice"
IN_CONTAINER = "BENTOML_CONTAINERIZED"
EXPORTER = "opentelemetry.exporter.otlp.proto.http"
GRACEFUL_SECONDS = 20
"""Longest wait for requests in flight when the server is told to end."""
KEEP_ALIVE_SECONDS = 75
"""How long a connection without requests is kept: longer than clients and proxies keep theirs (5 to
60 s by default), because who closes first must be the one that sends. Else a request may meet a
connection that is just being closed, and its client cannot know whether it was taken in."""


def command(tree: settings.Settings) -> list[str]:
    """Return the argv of the server process.

    Raises
    ------
    EnvironmentProblem
        A port is taken, the address is none of this machine's, or gRPC or traces are wanted but
        not installed.
    """
    check_port(tree.serve.host, tree.serve.port)
    if tree.serve.grpc_port is not None:
        check_port(tree.serve.host, tree.serve.grpc_port, "grpc_port")
        if importlib.util.find_spec("grpc") is None:
            message = "`serve.grpc_port` needs gRPC: pip install 'coppice[grpc]'"
            raise errors.EnvironmentProblem(message)
    check_exporter()
    return [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        SERVICE,
        "--host",
        tree.serve.host,
        "--port",
        str(tree.serve.port),
        "--working-dir",
        str(Path(__file__).resolve().parent.parent),
        "--timeout-graceful-shutdown",
        str(GRACEFUL_SECONDS),
        "--timeout-keep-alive",
        str(KEEP_ALIVE_SECONDS),
    ]


def environment(tree: settings.Settings) -> dict[str, str]:
    """Return the environment of the server process: this one's, and what the server needs.

    BentoML takes the number of workers from its configuration only, and would keep metrics of all
    servers of a user in one folder; so each project gets a home of its own.
    """
    overrides = {"services": {"coppice": {"workers": tree.serve.workers}}}
    # With this variable set BentoML does not start a new worker where one died.
    inherited = {name: value for name, value in os.environ.items() if name != IN_CONTAINER}
    return {
        **inherited,
        **telemetry.OPT_OUT,
        "COPPICE_PROJECT": str(tree.root.resolve()),
        "BENTOML_HOME": str(tree.registry_path),
        "BENTOML_CONFIG_OVERRIDES": json.dumps(overrides),
        # One pool of threads per model is set in the settings; libraries must not add their own.
        "OMP_NUM_THREADS": str(tree.serve.model_threads),
    }


def check_exporter() -> None:
    """Find out whether the traces can be sent that the environment asks for.

    Raises
    ------
    EnvironmentProblem
        They cannot: the exporter is not installed, or is one that is not known.
    """
    if not telemetry.traced(os.environ):
        return
    try:
        importlib.import_module(EXPORTER)
    except ModuleNotFoundError as cause:
        message = (
            "the OTEL_ variables ask for traces, which need pip install 'coppice[tracing]'; "
            "or set OTEL_TRACES_EXPORTER=none"
        )
        raise errors.EnvironmentProblem(message) from cause


def check_port(host: str, port: int, field: str = "port") -> None:
    """Find out whether a port, that of a field of `[serve]`, can be listened on.

    Raises
    ------
    EnvironmentProblem
        It cannot; the message says why and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as cause:
            raise errors.EnvironmentProblem(_explain(host, port, field, cause)) from cause


def _explain(host: str, port: int, field: str, cause: OSError) -> str:
    if cause.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken by another process; stop it, or set another with "
            f"COPPICE_SERVE__{field.upper()} or `[serve] {field}` in coppice.toml"
        )
    return f"cannot listen on {host}:{port}: {cause.strerror or cause}; set `[serve] host`"
