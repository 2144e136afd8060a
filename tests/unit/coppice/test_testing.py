from __future__ import annotations

import pytest

from coppice import testing
from coppice.eventlog.memory import MemoryLog
from coppice.registry.memory import MemoryRegistry


def test_a_manual_clock_stands_still() -> None:
    clock = testing.ManualClock(now=5.0)

    assert [clock.now(), clock.now(), clock.monotonic()] == [5.0, 5.0, 0.0]


def test_advancing_moves_both_hands() -> None:
    clock = testing.ManualClock(now=5.0)

    clock.advance(1.5)

    assert (clock.now(), clock.monotonic()) == (6.5, 1.5)


def test_sleeping_passes_at_once() -> None:
    clock = testing.ManualClock(now=5.0)

    clock.sleep(3600.0)

    assert clock.now() == 3605.0


def test_a_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="cannot be advanced by -1"):
        testing.ManualClock().advance(-1)


def test_the_twins_are_the_memory_stores() -> None:
    assert testing.MemoryLog is MemoryLog
    assert testing.MemoryRegistry is MemoryRegistry
