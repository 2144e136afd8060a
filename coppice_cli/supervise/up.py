"""`coppice up`: which programs make the loop, and how each says that it is ready."""

from __future__ import annotations

import sys

from coppice import clock, settings
from coppice_cli import console, doors
from coppice_cli.supervise import children, life, supervisor

DRAIN_SECONDS = 15.0
SERVER_DRAIN_SECONDS = 30.0
"""More than the server itself gives the requests in flight."""


def programs(tree: settings.Settings) -> tuple[children.Child, ...]:
    """Return the processes of a project's loop, in the order of their start."""
    joining = ("relay", "follow") if tree.events.backend == "kafka" else ()
    server = doors.url(tree.serve.host, tree.serve.port)
    monitor = doors.url(tree.monitor.host, tree.monitor.port)
    return (
        # Live, not ready: without a champion the server has nothing to answer with yet.
        _program(
            tree,
            "serve",
            ready=children.http_ready(f"{server}/v2/health/live"),
            drain_seconds=SERVER_DRAIN_SECONDS,
        ),
        _program(tree, "monitor", ready=children.http_ready(f"{monitor}/health")),
        _program(tree, "rollout", "run"),
        _program(tree, "retrain"),
        # Last: the loop on this machine does not wait for the cluster.
        *(_program(tree, name) for name in joining),
    )


def main(tree: settings.Settings) -> None:
    """Keep a project's loop running until SIGTERM or SIGINT.

    Raises
    ------
    EnvironmentProblem
        Another `coppice up` runs for this project, or a process crashed too often.
    """
    with supervisor.until_signalled() as stop:
        supervisor.Supervisor(
            programs(tree),
            home=tree.home,
            clock=clock.SystemClock(),
            patience=life.Patience(),
            report=_print,
        ).run(stop)


def _program(
    tree: settings.Settings,
    *command: str,
    ready: children.Ready = children.at_once,
    drain_seconds: float = DRAIN_SECONDS,
) -> children.Child:
    return children.Child(
        name=command[0],
        # -P: a `service.py` in the current folder must not stand before our own package.
        argv=(sys.executable, "-P", "-m", "coppice_cli", *command, "--project", str(tree.root)),
        ready=ready,
        drain_seconds=drain_seconds,
    )


def _print(sentence: str) -> None:
    console.err().print(sentence, markup=False, soft_wrap=True)
