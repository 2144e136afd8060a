"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _no_logging_of_the_test_before() -> Iterator[None]:
    """Undo what `telemetry.configure` set for the whole process, so that no order matters."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
