"""The house stays small: bounds that a reader can rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import house


def test_no_module_is_longer_than_400_lines() -> None:
    assert house.long_modules(400) == []


def test_no_function_is_longer_than_60_lines() -> None:
    assert house.long_functions(60) == []


def test_there_are_more_lines_of_tests_than_of_source() -> None:
    assert house.lines_of_tests() >= house.source_lines()


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter], cwd=house.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
