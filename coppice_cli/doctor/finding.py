"""A finding: what one check saw, how bad it is, and what to do about it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Level: TypeAlias = Literal["ok", "warning", "problem"]


class Finding(msgspec.Struct, frozen=True):
    """What a check saw. A problem stands in the way; a warning deserves a look."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """Return a finding that needs nothing done."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Return a finding that deserves a look."""
    return Finding(check, "warning", text, remedy)


def problem(check: str, text: str, remedy: str = "") -> Finding:
    """Return a finding that stands in the way; where the text says what to do, so be it."""
    return Finding(check, "problem", text, remedy)
