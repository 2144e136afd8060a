from __future__ import annotations

from coppice.testing import ManualClock
from deploy.backends.memory import MemoryBackend
from tests.support import rollouts


def test_it_may_start_with_a_table() -> None:
    assert MemoryBackend(rollouts.table(4)).observe().generation == 4


def test_it_remembers_why_it_was_aborted() -> None:
    backend = MemoryBackend()
    backend.abort("first")
    backend.abort("second")
    assert backend.aborts == ["first", "second"]


def test_a_wait_is_a_sleep_by_the_clock() -> None:
    clock = ManualClock()
    MemoryBackend().wait(2.5, clock)
    assert clock.monotonic() == 2.5
