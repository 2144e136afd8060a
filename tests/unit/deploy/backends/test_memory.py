from __future__ import annotations

from deploy.backends.memory import MemoryBackend
from tests.support import rollouts


def test_it_may_start_with_a_table() -> None:
    assert MemoryBackend(rollouts.table(4)).observe().generation == 4


def test_it_remembers_why_it_was_aborted() -> None:
    backend = MemoryBackend()
    backend.abort("first")
    backend.abort("second")
    assert backend.aborts == ["first", "second"]
