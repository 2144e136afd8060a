"""Ports of loopback to listen on."""

from __future__ import annotations

import socket


def free() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port
