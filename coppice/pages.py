"""The HTTP pages of a background process, served from a thread of their own: the home of uvicorn.

A page only reads a snapshot that the process replaces as a whole, so that a long turn of its loop
never holds one up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import msgspec
import uvicorn
from starlette import applications, responses

from coppice import errors

STOP_SECONDS = 10.0
"""How long an answer that is under way may take once the block ends."""


@contextlib.contextmanager
def served(pages: applications.Starlette, host: str, port: int, *, table: str) -> Iterator[int]:
    """Serve pages from a thread while the block runs; yields the port.

    Parameters
    ----------
    pages
        What is served.
    host
        Address to listen on.
    port
        Port to listen on; 0 takes a free one.
    table
        The table of the settings that names host and port, for messages and for the thread's name.

    Raises
    ------
    EnvironmentProblem
        The port is taken or the address is not this machine's.
    """
    listener = _listen(host, port, table)
    config = uvicorn.Config(pages, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=_serve, args=(server, listener), name=f"{table}-http", daemon=True
    )
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listener.close()


def as_json(value: object, status_code: int = 200) -> responses.Response:
    """Answer with a value that msgspec can encode."""
    return responses.Response(
        msgspec.json.encode(value), status_code, media_type="application/json"
    )


def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    asyncio.run(server.serve(sockets=[listener]))


def _listen(host: str, port: int, table: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as cause:
        listener.close()
        message = (
            f"cannot listen on {host}:{port} ({cause.strerror}); "
            f"stop what uses it, or set `{table}.host` and `{table}.port`"
        )
        raise errors.EnvironmentProblem(message) from cause
    return listener
