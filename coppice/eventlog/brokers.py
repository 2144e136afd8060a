"""Whether any broker is there, asked without Kafka's client, which may wait long or spin."""

from __future__ import annotations

import socket
from collections.abc import Sequence

TCP_SECONDS = 2.0
"""A broker that does not take a connection within so long is not there."""


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
