from __future__ import annotations

import signal
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
