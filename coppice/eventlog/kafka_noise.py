"""What kafka-python tells its log: some of it is needed, some slows it down, some is secret.

The filters are set on importing this, once for every client of the process.
"""

from __future__ import annotations

import logging
import re
import time

BRAKE_SECONDS = 0.1

_FAILED = re.compile(r"(?:Bootstrap connection|Bootstrap attempt|Connection).*?failed: (.+)")
_VAGUE = re.compile(r"timed out|disconnected")
_PAUSE = re.compile(r" \(backoff [0-9.]+ secs\)$")


class Secret(str):
    """A password that does not show where a library logs what it was made with.

    >>> [Secret("hunter2")], Secret("hunter2") == "hunter2"
    (['**********'], True)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Say nothing of it."""
        return "'**********'"


class Ear(logging.Filter):
    """Remember why a connection failed.

    The library tells its log alone, tries again, and says in the end that time is up: nobody could
    tell a wrong password from a cluster that is gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._telling = self._vague = ("", float("-inf"))

    def filter(self, record: logging.LogRecord) -> bool:
        """Listen; let every record pass."""
        found = _FAILED.match(record.getMessage())
        if found:
            heard = (_PAUSE.sub("", found[1]), time.monotonic())
            if _VAGUE.search(found[1]):
                self._vague = heard
            else:
                self._telling = heard
        return True

    def since(self, began: float) -> str:
        """Return the most telling reason since then, on the monotonic clock; empty if none."""
        return next((why for why, at in (self._telling, self._vague) if why and at >= began), "")


class Brake(logging.Filter):
    """Slow down a client thread that fails in every turn.

    It reports each failure before it takes the next turn, and makes no pause of its own: unbraked
    it took a third of a core until the deadline, for nothing. It waits in here.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Wait, where an exception is reported; let every record pass."""
        if record.exc_info:
            time.sleep(BRAKE_SECONDS)
        return True


EAR = Ear()
# Below warnings it writes whole requests into its log, that with the password among them.
logging.getLogger("kafka").setLevel(logging.WARNING)
logging.getLogger("kafka.net.manager").addFilter(EAR)
logging.getLogger("kafka.producer.sender").addFilter(Brake())
