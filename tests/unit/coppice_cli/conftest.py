from __future__ import annotations

import pytest

from tests.support import command_line


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> command_line.Call:
    monkeypatch.setenv("COLUMNS", "80")
    return command_line.caller(capsys)
