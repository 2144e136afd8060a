"""Whether any broker is there, asked without Kafka's client, which may wait long or spin.

Relay and follower ask before they make a client, so that an outage is no row of crashes (ADR 0011).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

TCP_SECONDS = 2.0
"""A broker that does not take a connection within so long is not there."""

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
"""Between two attempts to reach a cluster that is gone."""


def reachable(servers: Sequence[str]) -> bool:
    """Whether any of some brokers, each `host:port`, takes a TCP connection.

    >>> reachable(["127.0.0.1:1"])
    False
    """
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), TCP_SECONDS).close()
        except OSError:
            continue
        return True
    return False


def pause(attempts: int) -> float:
    """Return how long to wait after so many vain attempts in a row, seconds.

    >>> [pause(attempts) for attempts in (1, 2, 3, 9)]
    [0.25, 0.5, 1.0, 5.0]
    """
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempts - 1, 10), LONGEST_PAUSE_SECONDS)
