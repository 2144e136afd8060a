"""What several integration tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import slim


@pytest.fixture(scope="session")
def slim_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of the server image; see `tests.support.slim`."""
    base = tmp_path_factory.getbasetemp()
    # With several processes each has a folder of its own below the one of the run.
    return slim.environment(base.parent if base.name.startswith("popen-") else base)
