"""Load for a server: clients that ask as fast as they are answered, and remember every promise."""

from __future__ import annotations

import collections
import contextlib
import http.client
import threading
import time
import uuid
from collections.abc import Iterator
from urllib import parse

from tests.support import serving

READ_SECONDS = 60.0


class Load:
    """Clients on threads of their own, each with one connection that is kept.

    `acknowledged` are the ids of the requests that were answered with 200; `refused` counts every
    other status; `broken` counts connections that broke, after which a client goes on with a new
    one.
    """

    def __init__(self, url: str, clients: int = 4) -> None:
        self._place = parse.urlsplit(url)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: list[str] = []
        self.refused: collections.Counter[int] = collections.Counter()
        self.broken = 0
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def start(self) -> None:
        """Start the clients."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each client finish its request, and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until so many more requests were acknowledged."""
        goal = len(self.acknowledged) + more
        serving.wait_until(lambda: len(self.acknowledged) >= goal, lambda: repr(vars(self)))

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                self._ask_on_one_connection()
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.broken += 1
                time.sleep(0.01)

    def _ask_on_one_connection(self) -> None:
        connection = http.client.HTTPConnection(self._place.netloc, timeout=READ_SECONDS)
        with contextlib.closing(connection):
            while not self._stop.is_set():
                name = uuid.uuid4().hex
                connection.request("POST", serving.INFER, serving.infer_body(id=name))
                response = connection.getresponse()
                response.read()
                with self._lock:
                    if response.status == 200:
                        self.acknowledged.append(name)
                    else:
                        self.refused[response.status] += 1


@contextlib.contextmanager
def load(url: str, clients: int = 4) -> Iterator[Load]:
    """Keep a server under load."""
    made = Load(url, clients)
    made.start()
    try:
        yield made
    finally:
        made.stop()
