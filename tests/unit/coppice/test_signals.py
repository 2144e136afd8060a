from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from coppice import signals


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    signal.signal(signal.SIGTERM, before[signal.SIGTERM])
    signal.signal(signal.SIGINT, before[signal.SIGINT])


def test_nobody_has_asked_to_stop_at_first() -> None:
    assert not signals.stop_requested()()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request_to_stop(number: signal.Signals) -> None:
    stop = signals.stop_requested()
    signal.raise_signal(number)
    assert stop()


def test_a_process_that_ends_at_once_closes_nothing_but_says_its_last_words() -> None:
    program = """
import atexit, threading, time
from coppice import signals
atexit.register(print, "closing")
threading.Thread(target=time.sleep, args=(60,)).start()
print("last words", end="")
signals.end_at_once(9)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    # It waited neither for the thread nor for what is registered for the end.
    assert (done.returncode, done.stdout) == (9, "last words")
