"""What every example's test does after its own pruning: start everything, and ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import examples
from tests.support.examples import Done, Example


@pytest.fixture(scope="module")
def running(example: Example, pruned: Done) -> Iterator[None]:
    """Let the module's example run as `coppice up`, once it is pruned."""
    assert pruned.returncode == 0, pruned.stderr
    with example.up():
        yield


@pytest.fixture(scope="module")
def asked(example: Example, running: None) -> Done:
    """Run the example's client against it."""
    return example.ask(examples.ROWS)
