"""The ports that processes listen on, and how they are reached."""

from __future__ import annotations

import socket


def refusal(host: str, port: int) -> str | None:
    """Try to listen, and return why that is impossible; `None` where it is possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        # As servers do: without it a port in TIME_WAIT would look taken.
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((host, port))
        except OSError as cause:
            return cause.strerror or str(cause)
    return None


def url(host: str, port: int) -> str:
    """Return the address by which this machine reaches a process.

    >>> url("0.0.0.0", 3000), url("::1", 3001)
    ('http://127.0.0.1:3000', 'http://[::1]:3001')
    """
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
