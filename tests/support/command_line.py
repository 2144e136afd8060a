"""Call the command line inside the test's own process, as the console script does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from coppice import records, settings
from coppice.eventlog.sqlite import SqliteLog
from coppice_cli import main

MODEL = "tiny"


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Call: TypeAlias = Callable[..., Result]


def caller(captured: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs one command."""

    def call(*words: str | Path) -> Result:
        captured.readouterr()
        code = main.invoke([str(word) for word in words])
        text = captured.readouterr()
        return Result(code, text.out, text.err)

    return call


def project(folder: Path, *lines: str) -> settings.Settings:
    """Write a coppice.toml of the model `tiny`, with more lines behind, and read it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(["[project]", f'name = "{MODEL}"', *lines, ""])
    (folder / settings.FILE).write_text(text, encoding="utf-8")
    return settings.load(folder)


def keep(
    tree: settings.Settings, *found: records.Record, now: float = 1_700_000_000.0
) -> list[str]:
    """Append records to a project's log, one second apart, and return the ids of their events."""
    events = [
        records.seal(record, source="test", now=now + second) for second, record in enumerate(found)
    ]
    log = SqliteLog(tree.log_path)
    log.append(events)
    log.close()
    return [event.id for event in events]
