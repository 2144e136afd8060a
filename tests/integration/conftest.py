"""What several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import s3, slim


@pytest.fixture(scope="session")
def slim_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of the server image; see `tests.support.slim`."""
    base = tmp_path_factory.getbasetemp()
    # With several processes each has a folder of its own below the one of the run.
    return slim.environment(base.parent if base.name.startswith("popen-") else base)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server with an empty bucket; see `tests.support.s3`."""
    with s3.running() as endpoint:
        yield endpoint
