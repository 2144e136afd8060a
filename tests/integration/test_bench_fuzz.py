"""The long attack, for a few seconds: that it runs, and finds nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import house

pytestmark = pytest.mark.slow


def test_a_short_attack_finds_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "bench/fuzz.py", "--quick"],
        cwd=house.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bodies that lie" in done.stdout
    assert "still ready: True" in done.stdout
