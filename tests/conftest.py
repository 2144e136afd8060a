"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog

# A shell's background job ignores an interruption, and so would all processes that tests start and
# interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_logging_of_the_test_before() -> Iterator[None]:
    """Undo what `telemetry.configure` set for the whole process, so that no order matters."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
