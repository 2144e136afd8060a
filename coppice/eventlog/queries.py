"""The named queries of the SQLite log, read from `queries.sql` once per process."""

from __future__ import annotations

import functools
import importlib.resources
import re


@functools.cache
def named() -> dict[str, str]:
    """Read `queries.sql` into a dict by name, without the comments."""
    text = importlib.resources.files("coppice.eventlog").joinpath("queries.sql").read_text("utf-8")
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    bodies = (re.sub(r"^--.*\n?", "", body, flags=re.MULTILINE).strip() for body in parts[1::2])
    return dict(zip(parts[::2], bodies, strict=True))


@functools.cache
def for_rows(statement: str, rows: int) -> str:
    """Repeat the one row of an INSERT's VALUES."""
    head, row, tail = re.split(r"VALUES (\([?, ]+\))", statement)
    return f"{head}VALUES {', '.join([row] * rows)}{tail}"


def statements(script: str) -> list[str]:
    """Split a script into statements: `executescript` would commit the open transaction."""
    return [statement for statement in script.split(";") if statement.strip()]
