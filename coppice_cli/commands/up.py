"""`coppice up`: the whole loop on this machine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from coppice import settings

LOOK_SECONDS = 5.0
"""Pause between two looks for something new to tell."""


def up(folder: options.Project = options.HERE) -> None:
    """Run the whole loop, supervised: server, monitor, controller and retrainer.

    With Kafka, the relay and the follower too, which join this machine's logs
    to the cluster. A process that crashes is started again; SIGTERM or Ctrl-C ends all of
    them after the requests in flight. What happens is told line by line.
    """
    from coppice_cli.supervise import up as supervised

    tree = compose.settings_of(folder)
    _welcome(tree)
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(tree, done), name="teller", daemon=True)
    teller.start()
    try:
        supervised.main(tree)
    finally:
        done.set()
        teller.join()


def _welcome(tree: settings.Settings) -> None:
    from coppice_cli import client

    server, monitor = client.server_url(tree), client.monitor_url(tree)
    places = {
        "answers": f"{server}/v2/models/{tree.project.name}/infer",
        "labels": f"{server}/feedback",
        "metrics": f"{server}/metrics and {monitor}/metrics",
        "verdict": f"{monitor}/v1/verdict",
        "state": str(tree.home),
    }
    screen = console.err()
    for what, where in places.items():
        screen.print(f"{what:<8} {where}", markup=False, soft_wrap=True)


def _tell(tree: settings.Settings, done: threading.Event) -> None:
    """Print a line whenever the rollout or a verdict changed, until `done`."""
    from coppice_cli import narrator

    with compose.event_log(tree) as log:
        teller = narrator.Narrator(log, tree.project.name)
        while not done.wait(LOOK_SECONDS):
            for sentence in teller.news():
                console.err().print(sentence, markup=False, soft_wrap=True)
